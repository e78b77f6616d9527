// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/stubs.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

using ssi::Stubs;

TEST_CASE("the guest's own directories are always there") {
  Stubs stubs;
  stubs.add_system(16);
  auto* proc = stubs.find(16, "proc");
  REQUIRE(proc);
  CHECK(Stubs::is_stub(proc->node));
  CHECK(proc->attr.mode == (S_IFDIR | 0555));
  CHECK(stubs.covers(16, "sys"));
  CHECK(stubs.covers(16, "dev"));
  CHECK_FALSE(stubs.covers(17, "proc"));
  const auto node = proc->node;
  proc->kernel = 1;
  stubs.forget(node, 1);
  CHECK(stubs.find(node));
}

TEST_CASE("a mount point keeps its number as long as the kernel has it, and numbers are not reused") {
  Stubs stubs;
  ssi::wire::Attr attr;
  attr.ino = 2;
  auto& made = stubs.at({16, "home"}, attr);
  const auto node = made.node;
  made.kernel = 2;
  CHECK(stubs.at({16, "home"}, attr).node == node);
  stubs.forget(node, 1);
  CHECK(stubs.covers(16, "home"));
  stubs.forget(node, 1);
  CHECK_FALSE(stubs.covers(16, "home"));
  CHECK(stubs.at({16, "home"}, attr).node != node);
}
