// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/task_groups.h"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace ssi;
using Groups = std::vector<std::uint32_t>;

TEST_CASE("a task's groups are what its user namespace calls them") {
  const char* map = "         0 4293918720          1\n         1          1 4293918719\n";
  CHECK(groups_of("Name:\tsh\nGroups:\t4 24 4293918720 \nNStgid:\t1\n", map) == Groups{4, 24, 0});
  CHECK(groups_of("Name:\tsh\nGroups:\t \nNStgid:\t1\n", map) == Groups{});
  CHECK(groups_of("Name:\tsh\nGroups:\t4294000000 \n", map) == std::nullopt);  // has no name there
  CHECK(groups_of("Name:\tsh\n", map) == std::nullopt);
  CHECK(groups_of("Name:\tsh\nGroups:\t1\n", "") == std::nullopt);
}

TEST_CASE("they are said of a task that is there") {
  wire::Caller caller, nobody;
  add_groups(caller, ::getpid());
  Groups own(static_cast<std::size_t>(::getgroups(0, nullptr)));
  ::getgroups(static_cast<int>(own.size()), own.data());
  CHECK(caller.has_groups == 1);
  CHECK(caller.groups == own);
  add_groups(nobody, 0);
  CHECK(nobody.has_groups == 0);
}
