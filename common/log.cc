// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "common/printable.h"

namespace ssi::log {
namespace {

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  std::abort();
}

std::shared_ptr<spdlog::logger> make(std::string program) {
  auto logger =
      std::make_shared<spdlog::logger>(std::move(program), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %n[%P] %l: %v");
  logger->set_level(spdlog::level::info);
  return logger;
}

// Before start(), and in programs that never call it, lines go out under the project's name.
std::shared_ptr<spdlog::logger>& logger() {
  static auto current = make("ssi");
  return current;
}

}  // namespace

void start(std::string_view program) {
  logger() = make(std::string(program));
  const char* wanted = std::getenv("SSI_LOG");
  const std::string_view name = wanted ? wanted : "";
  if (name == "debug")
    logger()->set_level(spdlog::level::debug);
  else if (name == "warning")
    logger()->set_level(spdlog::level::warn);
  else if (name == "error")
    logger()->set_level(spdlog::level::err);
  else if (!name.empty() && name != "info")
    warning("SSI_LOG={}: not one of debug, info, warning, error; taking info", name);
}

void write(Level level, std::string_view line) {
  const auto clean = printable(line);  // names and reasons come from peers: one event stays one line
  logger()->log(spdlog_level(level), spdlog::string_view_t(clean.data(), clean.size()));
}

bool enabled(Level level) {
  return logger()->should_log(spdlog_level(level));
}

}  // namespace ssi::log
