// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>

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

// Names and reasons come from peers: whatever they hold, one event stays one line.
std::string one_line(std::string_view line) {
  std::string clean(line);
  for (auto& character : clean)
    if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) character = '?';
  return clean;
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
  const auto clean = one_line(line);
  logger()->log(spdlog_level(level), spdlog::string_view_t(clean.data(), clean.size()));
}

bool enabled(Level level) {
  return logger()->should_log(spdlog_level(level));
}

}  // namespace ssi::log
