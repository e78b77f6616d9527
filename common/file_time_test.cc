// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/file_time.h"

#include <doctest/doctest.h>

using limits = std::numeric_limits<std::int64_t>;

TEST_CASE("seconds and nanoseconds") {
  CHECK(ssi::to_ns(1'700'000'000, 123'456'789) == 1'700'000'000'123'456'789);
  CHECK(ssi::to_ns(-1, 999'999'999) == -1);
  CHECK(ssi::to_timespec(-1).tv_sec == -1);
  CHECK(ssi::to_timespec(-1).tv_nsec == 999'999'999);
  CHECK(ssi::to_timespec(limits::min()).tv_nsec >= 0);
}

TEST_CASE("what 64 bits of nanoseconds cannot say is the nearest that they can") {
  CHECK(ssi::to_ns(15'032'385'535, 0) == limits::max());  // where ext4 ends
  CHECK(ssi::to_ns(limits::max() / 1'000'000'000, 999'999'999) == limits::max());
  CHECK(ssi::to_ns(limits::min() / 1'000'000'000 - 1, 0) == limits::min());
}
