// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/leases.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

wire::Attr attr_of(std::uint64_t size) {
  wire::Attr attr;
  attr.size = size;
  return attr;
}

}  // namespace

TEST_CASE("what home has said counts until it is taken back") {
  Leases leases;
  CHECK(leases.attr(5) == nullptr);
  leases.told(5, attr_of(7));
  REQUIRE(leases.attr(5));
  CHECK(leases.attr(5)->size == 7);
  leases.forget(5);
  CHECK(leases.attr(5) == nullptr);
  CHECK(leases.size() == 0);
}

TEST_CASE("what home cannot watch is not remembered, and what was said before neither") {
  Leases leases;
  leases.told(5, attr_of(7));
  auto brief = attr_of(8);
  brief.brief = 1;
  leases.told(5, brief);
  CHECK(leases.attr(5) == nullptr);
}

TEST_CASE("a lease keeps its number as long as the content is the same") {
  Leases leases;
  CHECK(leases.number(5) == 0);
  leases.told(5, attr_of(7));
  const auto first = leases.number(5);
  CHECK(first != 0);
  leases.told(5, attr_of(7));
  CHECK(leases.number(5) == first);
  leases.told(5, attr_of(8));
  CHECK(leases.number(5) != first);
  leases.told(5, attr_of(7));
  leases.forget(5);
  leases.told(5, attr_of(7));
  CHECK(leases.number(5) != first);  // who knows what happened in between
}

TEST_CASE("the time of access of a file that is read at home is home's to say") {
  Leases leases;
  CHECK_FALSE(leases.knows_access_time(5));
  leases.told(5, attr_of(7));
  CHECK(leases.knows_access_time(5));
  leases.read_at_home(5, 0);
  CHECK_FALSE(leases.knows_access_time(5));
  CHECK(leases.attr(5));
  leases.told(5, attr_of(7));
  CHECK(leases.knows_access_time(5));
}

TEST_CASE("home says the time of access with what was read") {
  Leases leases;
  leases.was_read(5, 9);
  CHECK_FALSE(leases.attr(5));
  leases.told(5, {.size = 1, .atime = 1, .mtime = 2, .ctime = 2});
  leases.read_at_home(5, 3);
  leases.was_read(5, 9);
  CHECK(leases.knows_access_time(5));
  CHECK(leases.attr(5)->atime == 9);
}

TEST_CASE("a time of access that is newer than the file, and of today, stays as it is") {
  constexpr std::int64_t hour = 3'600'000'000'000;
  Leases leases;
  auto attr = attr_of(7);
  attr.mtime = attr.ctime = 100 * hour;
  attr.atime = 101 * hour;
  leases.told(5, attr);
  leases.read_at_home(5, 102 * hour);
  CHECK(leases.knows_access_time(5));
  leases.read_at_home(5, 126 * hour);
  CHECK_FALSE(leases.knows_access_time(5));
  attr.ctime = attr.atime;
  leases.told(6, attr);
  leases.read_at_home(6, 102 * hour);
  CHECK_FALSE(leases.knows_access_time(6));
}

TEST_CASE("where a link leads is known for as long as the link is") {
  Leases leases;
  CHECK(leases.target(5).empty());
  leases.links_to(5, "../there");
  leases.forget(5);
  CHECK(leases.target(5) == "../there");
  leases.gone(5);
  CHECK(leases.target(5).empty());
  CHECK(leases.size() == 0);
}
