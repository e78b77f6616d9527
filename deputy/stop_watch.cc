// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/stop_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::uint64_t interval_ms = 50;

// Source: proc(5), the third field; the second one, in parentheses, may hold anything.
bool is_stopped(pid_t pid) {
  const Fd file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char text[128];
  const auto size = ::read(file.get(), text, sizeof text);
  if (size <= 0) return false;
  const std::string_view stat(text, static_cast<std::size_t>(size));
  const auto name_end = stat.rfind(") ");
  return name_end != std::string_view::npos && stat.substr(name_end + 2, 1) == "T";
}

}  // namespace

StopWatch::StopWatch(Loop& loop, pid_t caller, std::function<void(bool)> stopped)
    : timer_(loop), caller_(caller), stopped_(std::move(stopped)) {
  timer_.every(interval_ms, [this] { look(); });
}

void StopWatch::look() {
  const bool now = is_stopped(caller_);
  if (now && !was_stopped_) stopped_(witness_ > 0 && is_stopped(witness_));
  was_stopped_ = now;
}

}  // namespace ssi
