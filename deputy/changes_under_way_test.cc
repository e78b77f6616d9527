// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/changes_under_way.h"

#include <doctest/doctest.h>

#include <string>

using ssi::ChangesUnderWay;

TEST_CASE("what must find changes made waits for those that came before it") {
  ChangesUnderWay changes;
  std::string said;
  changes.when_done([&] { said += '0'; });
  CHECK(said == "0");
  changes.begin();
  changes.begin();
  changes.when_done([&] { said += 'a'; });
  CHECK_FALSE(changes.none());
  CHECK(changes.anything_waits());
  changes.end();
  CHECK(said == "0");
  changes.end();
  CHECK(said == "0a");
  CHECK(changes.none());
}

TEST_CASE("a change that comes behind what waits begins behind it, and holds up what comes later") {
  ChangesUnderWay changes;
  std::string said;
  changes.begin();
  changes.when_done([&] { said += 'a'; });
  changes.in_turn([&] {
    said += 'b';
    changes.begin();
  });
  changes.in_turn([&] { said += 'c'; });
  changes.when_done([&] { said += 'd'; });
  CHECK(said.empty());
  changes.end();
  CHECK(said == "abc");
  changes.end();
  CHECK(said == "abcd");
}

TEST_CASE("what is given from within comes last") {
  ChangesUnderWay changes;
  std::string said;
  changes.begin();
  changes.when_done([&] {
    said += 'a';
    changes.when_done([&] { said += 'c'; });
  });
  changes.when_done([&] { said += 'b'; });
  changes.end();
  CHECK(said == "abc");
}
