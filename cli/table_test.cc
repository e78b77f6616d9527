// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/table.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("columns are aligned, and no cell steers the terminal") {
  CHECK(table({{"NAME", "STATE"},
               {"a\xc2\x9b"
                "2J\n",
                "up"}}) == "NAME   STATE\na?2J?  up\n");
}
