// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/acknowledged.h"

#include <doctest/doctest.h>

#include <string>

using ssi::Acknowledged;

TEST_CASE("who asks about a node waits for what was acknowledged of it before, and for nothing else") {
  Acknowledged changes;
  std::string said;
  changes.when_done_with(7, [&] { said += '0'; });
  CHECK(said == "0");
  const auto one = changes.begin({1, {7}, 100}), other = changes.begin({1, {8}, 10});
  CHECK(changes.has(7));
  CHECK(changes.bytes() == 110);
  changes.when_done_with(7, [&] { said += 'a'; });
  const auto later = changes.begin({1, {7}, 1});
  changes.end(one);
  CHECK(said == "0");  // the answer is made use of first
  changes.go_on();
  CHECK(said == "0a");
  CHECK(changes.has(7));
  changes.end(later);
  changes.end(other);
  CHECK(changes.none());
  CHECK_FALSE(changes.has(7));
  CHECK(changes.bytes() == 0);
}

TEST_CASE("a job's end waits for its own changes, and for those that may be its") {
  Acknowledged changes;
  std::string said;
  const auto mine = changes.begin({1, {7}, 0}), theirs = changes.begin({2, {8}, 0}), whose = changes.begin({0, {9}, 0});
  changes.when_done_for(1, [&] { said += '1'; });
  changes.when_done_for(0, [&] { said += '*'; });
  changes.end(mine);
  changes.go_on();
  CHECK(said.empty());
  changes.end(whose);
  changes.go_on();
  CHECK(said == "1");
  changes.end(theirs);
  changes.go_on();
  CHECK(said == "1*");
}

TEST_CASE("a change of names comes behind the job's own, and others' names, not behind what they write") {
  Acknowledged changes;
  std::string said;
  const auto content = changes.begin({2, {8}, 100, true}), mine = changes.begin({1, {7}, 100, true}), name = changes.begin({2, {9}, 0}),
             whose = changes.begin({0, {5}, 10, true});
  changes.when_done_before(1, [&] { said += '1'; });
  changes.when_done_before(0, [&] { said += '*'; });
  const auto later = changes.begin({1, {7}, 0});
  for (const auto number : {mine, name}) {
    changes.end(number);
    changes.go_on();
    CHECK(said.empty());
  }
  changes.end(whose);
  changes.go_on();
  CHECK(said == "1");
  changes.end(content);
  changes.go_on();
  CHECK(said == "1*");
  changes.end(later);
  CHECK(changes.none());
}

TEST_CASE("what is held back is asked for when somebody waits; it can grow until then") {
  int hurried = 0;
  Acknowledged changes([&] { ++hurried; });
  const auto one = changes.begin({1, {7}, 100});
  changes.grow(one, 50);
  CHECK(changes.bytes() == 150);
  changes.when_done_with(8, [] {});
  CHECK(hurried == 0);
  changes.when_done_with(7, [] {});
  CHECK(hurried == 1);
  changes.when_room(149, [] {});
  CHECK(hurried == 2);
  changes.end(one);
  CHECK(changes.bytes() == 0);
}

TEST_CASE("who would have too much on its way waits for room, one behind the other") {
  Acknowledged changes;
  std::string said;
  const auto one = changes.begin({1, {7}, 100});
  changes.when_room(50, [&] {
    said += 'a';
    changes.begin({1, {7}, 60});
  });
  changes.when_room(50, [&] { said += 'b'; });
  CHECK(said.empty());
  changes.end(one);
  changes.go_on();
  CHECK(said == "a");
}
