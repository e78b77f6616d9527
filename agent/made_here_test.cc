// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/made_here.h"

#include <doctest/doctest.h>

using ssi::MadeHere;
using ssi::wire::Makes;

TEST_CASE("a directory's lease grows, and ends with its job or when it is revoked") {
  MadeHere made;
  CHECK(made.makes(7) == Makes::nothing);
  made.lease(7, Makes::nothing, 1);
  CHECK(made.makes(7) == Makes::nothing);
  made.lease(7, Makes::all, 1);
  made.lease(7, Makes::files, 2);  // what home says of any directory
  CHECK(made.makes(7) == Makes::all);
  made.lease(8, Makes::files, 2);
  made.end_leases(1);
  CHECK(made.makes(7) == Makes::nothing);
  CHECK(made.makes(8) == Makes::files);
  made.revoke(8);
  CHECK(made.makes(8) == Makes::nothing);
}

TEST_CASE("a directory that passes something on has no lease") {
  MadeHere made;
  made.lease(7, Makes::all, 1);
  ssi::wire::Attr attr{.ino = 5, .mode = 040755};
  attr.acl = 0;
  made.told(7, attr);
  REQUIRE(made.directory(7));
  CHECK(made.directory(7)->ino == 5);
  attr.mode |= 02000;
  made.told(7, attr);
  CHECK(made.makes(7) == Makes::nothing);
}

TEST_CASE("what a file is like is not known behind a change at home, until home has said it") {
  MadeHere made;
  REQUIRE(made.add(7, {.attr = {.size = 1}}));
  CHECK(made.find(7)->is_known);
  made.set_unknown(7);
  made.set_unknown(8);
  CHECK_FALSE(made.find(7)->is_known);
  made.told(7, {.size = 9});
  CHECK(made.find(7)->is_known);
  CHECK(made.find(7)->attr.size == 9);
}

TEST_CASE("inodes are had once, by the user and job that they are for") {
  MadeHere made;
  const ssi::wire::Caller mine{.uid = 1, .gid = 2, .job = 3}, others{.uid = 1, .gid = 2, .job = 4};
  made.add_inodes(mine, {100, 101});
  made.add_inodes(others, {200});
  CHECK(made.take_inode({.uid = 9, .gid = 2, .job = 3}) == 0);
  CHECK(made.take_inode(mine) == 100);
  CHECK(made.take_inode(others) == 200);
  CHECK(made.take_inode(others) == 0);
  made.end_leases(3);
  CHECK(made.take_inode(mine) == 0);
}

TEST_CASE("files are known until their job ends, or somebody else changes them") {
  MadeHere made;
  REQUIRE(made.add(7, {.attr = {}, .job = 1, .handle = 3}));
  REQUIRE(made.add(8, {.attr = {}, .job = 2, .handle = 5}));
  REQUIRE(made.add(9, {.attr = {}, .job = 0, .handle = 7}));
  CHECK(made.find(7)->handle == 3);
  made.forget(7);
  CHECK_FALSE(made.find(7));
  made.find(9)->error = 28;
  made.find(8)->error = 5;
  const auto refused = made.end_files(1);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].first == 9);  // it may have been its
  CHECK(refused[0].second.error == 28);
  CHECK_FALSE(made.find(9));
  CHECK(made.find(8));
  made.end_files(0);
  CHECK(made.size() == 0);
}

TEST_CASE("what was written is known, with its holes, until somebody else may have changed it") {
  MadeHere made;
  auto* file = made.add(1, {{}, 7, 3, true});
  REQUIRE(file);
  made.wrote(*file, 0, "not kept: it may have held something before", 0);
  CHECK_FALSE(made.content(1, 0));
  made.begin_content(*file, 0);
  made.wrote(*file, 0, "hello", 0);
  made.wrote(*file, 7, "x", 0);
  made.wrote(*file, 1, "E", 0);
  REQUIRE(made.content(1, 0));
  CHECK(*made.content(1, 0) == std::string("hEllo\0\0x", 8));
  CHECK(made.content(1, MadeHere::content_ms));
  made.set_unknown(1);
  CHECK_FALSE(made.content(1, 0));
  made.wrote(*made.find(1), 0, "later", 0);
  CHECK_FALSE(made.content(1, 0));
}

TEST_CASE("not more content is kept than there may be, and room comes back") {
  MadeHere made;
  const auto keep = [&](std::uint64_t node, std::size_t bytes) {
    auto* file = made.add(node, {{}, node % 2, 3, true});
    made.begin_content(*file, 0);
    made.wrote(*file, 0, std::string(bytes, 'x'), 0);
    return made.content(node, 0) != nullptr;
  };
  CHECK(keep(1, MadeHere::most_of_one));
  CHECK_FALSE(keep(1, MadeHere::most_of_one + 1));
  const std::uint64_t fit = MadeHere::most_content / MadeHere::most_of_one;
  for (std::uint64_t node = 1; node <= fit; ++node) CHECK(keep(node, MadeHere::most_of_one));
  CHECK_FALSE(keep(99, 1));
  made.forget(1);
  CHECK(keep(99, 1));
  made.end_files(0);
  for (std::uint64_t node = 1; node <= fit; ++node) CHECK(keep(node, MadeHere::most_of_one));
}

TEST_CASE("a second behind the last write home is asked") {
  MadeHere made;
  auto* file = made.add(1, {{}, 7, 3, true});
  made.begin_content(*file, 4'500);
  CHECK(made.content(1, 5'000));
  made.wrote(*file, 0, "x", 5'000);
  CHECK(made.content(1, 5'000 + MadeHere::content_ms));
  CHECK_FALSE(made.content(1, 5'001 + MadeHere::content_ms));
  made.wrote(*file, 1, "y", 7'000);
  CHECK_FALSE(made.content(1, 7'000));
}
