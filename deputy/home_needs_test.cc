// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_needs.h"

#include <doctest/doctest.h>

using namespace ssi;

TEST_CASE("what a command needed is known for a day") {
  HomeNeeds needs;
  needs.remember({"a", "needs /h/.ssh, which is hidden from guests", 1000});
  CHECK(needs.of("a", 1000 + 3600) == "needed /h/.ssh, which is hidden from guests");
  CHECK_FALSE(needs.of("b", 1000));
  CHECK_FALSE(needs.of("a", 1000 + 25 * 3600));
  needs.remember({"a", "needs /h/.aws, which is hidden from guests", 90'000});
  CHECK(needs.of("a", 1000 + 25 * 3600) == "needed /h/.aws, which is hidden from guests");
}

TEST_CASE("not more commands are kept than fit") {
  HomeNeeds needs;
  for (std::size_t i = 0; i <= HomeNeeds::commands_kept; ++i)
    needs.remember({std::to_string(i), "needs x", 0});
  std::size_t known = 0;
  for (std::size_t i = 0; i <= HomeNeeds::commands_kept; ++i) known += needs.of(std::to_string(i), 0) ? 1 : 0;
  CHECK(known == HomeNeeds::commands_kept);
  CHECK(needs.of(std::to_string(HomeNeeds::commands_kept), 0));
}
