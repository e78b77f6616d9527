// SPDX-License-Identifier: LGPL-2.1-or-later
// A file's times between the kernel's seconds and the wire's nanoseconds since the epoch.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>

namespace ssi {

// Saturates in 1677 and 2262: file systems go further.
constexpr std::int64_t to_ns(std::int64_t seconds, std::int64_t rest) {
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(seconds, std::int64_t{1'000'000'000}, &ns) ||
      __builtin_add_overflow(ns, rest, &ns))
    return seconds < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
  return ns;
}

// Rounds down, so that times before 1970 keep a tv_nsec of 0 to 999 999 999.
constexpr timespec to_timespec(std::int64_t ns) {
  constexpr std::int64_t second = 1'000'000'000;
  auto seconds = ns / second, rest = ns % second;
  if (rest < 0) --seconds, rest += second;
  return {seconds, rest};
}

// Now, as a file's times are told.
inline std::int64_t wall_clock() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace ssi
