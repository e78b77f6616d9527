// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/domain_key.h"

#include <doctest/doctest.h>

#include "common/test_folder.h"

using namespace ssi;

TEST_CASE("a key stays in its domain; a copy of its file in another one is another guest") {
  const TestFolder folder;
  const auto file = folder.path() + "/agent.key";
  const std::string one = "0c1dbf2e-7c4e-4f7a-9d7e-5f2f0a9c1b11",
                    two = "11111111-7c4e-4f7a-9d7e-5f2f0a9c1b11";
  const auto no_domain = domain_key(file, "");
  REQUIRE(no_domain);
  const auto first = domain_key(file, one);  // the first domain that starts with it has it
  REQUIRE(first);
  CHECK(first->public_key() == no_domain->public_key());
  CHECK(domain_key(file, one)->public_key() == first->public_key());
  const auto second = domain_key(file, two);
  REQUIRE(second);
  CHECK(second->public_key() != first->public_key());
  CHECK(domain_key(file, two)->public_key() == second->public_key());
  CHECK(domain_key(file, one)->public_key() != first->public_key());
  CHECK_FALSE(domain_key("/proc/none/agent.key", one));
}
