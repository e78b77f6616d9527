// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/node_refs.h"

#include <doctest/doctest.h>

using ssi::NodeRefs;

TEST_CASE("a node goes back to the deputy with all it gave, once the kernel has forgotten it") {
  NodeRefs refs(16);
  for (int i = 0; i < 3; ++i) {
    refs.hold(20);
    refs.pass(20);
  }
  CHECK(refs.knows(20));
  CHECK_FALSE(refs.forget(20, 2));
  const auto all = refs.forget(20, 1);
  REQUIRE(all);
  CHECK(all->node == 20);
  CHECK(all->count == 3);
  CHECK_FALSE(refs.knows(20));
}

TEST_CASE("what is held outlives the kernel's interest") {
  NodeRefs refs(16);
  refs.hold(20);
  refs.pass(20);
  refs.hold(20);  // in a page of a directory
  CHECK_FALSE(refs.forget(20, 1));
  const auto all = refs.drop(20);
  REQUIRE(all);
  CHECK(all->count == 2);
}

TEST_CASE("what the kernel never got is given back with the rest") {
  NodeRefs refs(16);
  refs.hold(20);
  refs.hold(20);
  refs.pass(20);
  CHECK_FALSE(refs.drop(20));
  CHECK(refs.forget(20, 1)->count == 2);
}

TEST_CASE("the root is known and never given back; a kernel that forgets too much is clamped") {
  NodeRefs refs(16);
  CHECK(refs.knows(16));
  CHECK_FALSE(refs.forget(16, 5));
  refs.hold(20);
  refs.pass(20);
  CHECK(refs.forget(20, 1000)->count == 1);
}

TEST_CASE("clear gives everything back") {
  NodeRefs refs(16);
  refs.hold(20);
  refs.hold(21);
  refs.pass(21);
  CHECK(refs.clear().size() == 2);
  CHECK(refs.size() == 0);
}

TEST_CASE("names on the way to a node") {
  NodeRefs refs(16);
  for (const std::uint64_t node : {20U, 21U, 22U}) refs.hold(node);
  refs.place(20, {16, "mnt"});
  refs.place(21, {20, "data"});
  refs.place(22, {16, "home"});
  refs.place(99, {16, "unknown"});
  CHECK(refs.leads_to({16, "mnt"}, 21));
  CHECK(refs.leads_to({20, "data"}, 21));
  CHECK_FALSE(refs.leads_to({16, "home"}, 21));
  CHECK_FALSE(refs.leads_to({16, "mnt"}, 16));
  CHECK_FALSE(refs.leads_to({16, "unknown"}, 99));
  refs.place(20, {21, "ring"});
  CHECK_FALSE(refs.leads_to({16, "mnt"}, 21));  // ends
}

TEST_CASE("the path of a node, as it was last seen") {
  NodeRefs refs(1);
  for (const auto node : {2ULL, 3ULL, 4ULL}) refs.hold(node);
  refs.place(2, {1, "dir"});
  refs.place(3, {2, "file"});
  CHECK(refs.path_of(3) == "/dir/file");
  CHECK(refs.path_of(4).empty());
  CHECK(refs.path_of(1).empty());
  refs.place(2, {3, "ring"});  // two renames that were seen in the wrong order
  CHECK(refs.path_of(3).size() >= 4096);
}
