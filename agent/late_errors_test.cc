// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/late_errors.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace ssi;

TEST_CASE("who has a file open for writing, until he has closed it") {
  Writers writers;
  writers.opened(7, 1, 100);
  writers.opened(7, 3, 200);
  writers.opened(8, 5, 300);
  auto both = writers.of(7);
  std::ranges::sort(both);
  CHECK(both == std::vector<pid_t>{100, 200});
  writers.released(7, 1);
  writers.released(7, 99);
  writers.released(9, 1);
  CHECK(writers.of(7) == std::vector<pid_t>{200});
  writers.released(7, 3);
  CHECK(writers.of(7).empty());
  CHECK(writers.of(8) == std::vector<pid_t>{300});
}
