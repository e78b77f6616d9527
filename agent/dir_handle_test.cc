// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dir_handle.h"

#include <doctest/doctest.h>

using ssi::DirHandle;

namespace {
ssi::wire::DirPage page(std::initializer_list<std::int64_t> cookies) {
  ssi::wire::DirPage made;
  for (const auto next : cookies) {
    ssi::wire::DirEntry entry;
    entry.name = "f" + std::to_string(next);
    entry.next = next;
    entry.entry.node = static_cast<std::uint64_t>(100 + next);
    made.entries.push_back(entry);
  }
  return made;
}
}  // namespace

TEST_CASE("a page serves what follows, in any order of offsets") {
  DirHandle directory(1);
  CHECK_FALSE(directory.seek(0, true));
  directory.fill(0, true, page({70, 30, 50}));  // cookies are no numbers in order
  REQUIRE(directory.current());
  CHECK(directory.current()->name == "f70");
  directory.advance();
  CHECK(directory.seek(70, true));
  CHECK(directory.current()->name == "f30");
  CHECK(directory.seek(30, false));
  CHECK(directory.current()->name == "f50");
  CHECK(directory.seek(70, true));  // back
  CHECK(directory.current()->name == "f30");
  CHECK_FALSE(directory.seek(50, true));  // the page's end
  CHECK_FALSE(directory.seek(12, true));
  CHECK_FALSE(directory.seek(0, true));  // rewinddir: fetched anew
}

TEST_CASE("a later page continues at its own offset") {
  DirHandle directory(1);
  directory.fill(50, false, page({60, 61}));
  CHECK(directory.seek(50, false));
  CHECK(directory.current()->name == "f60");
  CHECK_FALSE(directory.seek(50, true));  // it has no nodes
  directory.fill(61, false, page({}));
  CHECK_FALSE(directory.current());
  CHECK_FALSE(directory.seek(61, false));
}

TEST_CASE("nodes that the kernel did not get are told once") {
  DirHandle directory(1);
  directory.fill(0, true, page({1, 2, 3}));
  DirHandle::take(*directory.current());
  CHECK(directory.untaken() == std::vector<std::uint64_t>{102, 103});
  CHECK(directory.untaken().empty());
  CHECK(directory.current()->name == "f1");
}

TEST_CASE("a page that says that it is the last needs no other one behind it") {
  DirHandle directory(1);
  auto last = page({70, 30});
  directory.fill(0, true, last);
  CHECK_FALSE(directory.ends_at(30));
  last.end = 1;
  directory.fill(0, true, last);
  CHECK(directory.ends_at(30));
  CHECK_FALSE(directory.ends_at(70));
  CHECK_FALSE(directory.ends_at(0));  // rewinddir(3): what is there now
}
