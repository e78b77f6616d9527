// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/speed.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("a processor's speed is the same twice, within what a shared machine does to it") {
  const double first = measure_speed(), second = measure_speed();
  CHECK(first > 0.01);
  CHECK(first < 100);
  CHECK(second / first > 0.4);
  CHECK(second / first < 2.5);
}
