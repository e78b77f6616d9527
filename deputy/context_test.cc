// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/context.h"

#include <doctest/doctest.h>
#include <unistd.h>

using namespace ssi;

TEST_CASE("the facts of a status file") {
  const auto facts = status_facts(
      "Name:\tcat\nTracerPid:\t0\nUid:\t1000\t1000\t1000\t1000\nGroups:\t4 24 1000 \nSeccomp:\t0\n");
  CHECK(facts.size() == 4);
  CHECK(facts.at("user ids") == "1000\t1000\t1000\t1000");
  CHECK(facts.at("groups") == "4 24 1000");
}

TEST_CASE("a process does not differ from itself") {
  const auto ours = read_context("/proc/self"), again = read_context("/proc/" + std::to_string(::getpid()));
  REQUIRE(ours);
  REQUIRE(again);
  CHECK(ours->facts.size() == 15);
  CHECK(difference(*ours, *again) == "");
}

TEST_CASE("each difference keeps a job at home and is named") {
  const auto ours = read_context("/proc/self");
  REQUIRE(ours);
  for (const auto& [name, value] : ours->facts) {
    Context theirs = *ours;
    theirs.facts[name] = value + "1";
    const auto reason = difference(*ours, theirs);
    if (name == "tracer")
      CHECK(reason == "the caller is being traced");
    else
      CHECK(reason.find(name) != std::string::npos);
    theirs.facts.erase(name);
    if (name != "tracer") CHECK(difference(*ours, theirs) != "");
  }
}

TEST_CASE("a process that is gone has no context") {
  CHECK_FALSE(read_context("/proc/0"));
}
