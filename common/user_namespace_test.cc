// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/user_namespace.h"

#include <doctest/doctest.h>

TEST_CASE("a user namespace that has all ids") {
  CHECK(ssi::maps_all_ids("         0          0 4294967295\n"));
  // What our own parent writes for a home.
  CHECK(ssi::maps_all_ids("0 4294000000 1\n1 1 4293999999\n4294000000 0 967295\n"));
  CHECK_FALSE(ssi::maps_all_ids("         0       1000          1\n"));
  CHECK_FALSE(ssi::maps_all_ids("0 1000 1\n1 100000 65536\n"));
  CHECK_FALSE(ssi::maps_all_ids(""));
  CHECK_FALSE(ssi::maps_all_ids("garbage"));
}
