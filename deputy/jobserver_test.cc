// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/jobserver.h"

#include <doctest/doctest.h>

#include <vector>

using namespace ssi;

namespace {

std::string environment(const std::vector<std::string>& variables) {
  std::string strings;
  for (const auto& variable : variables) strings += variable + '\0';
  return strings;
}

std::string stripped(const std::string& variable) {
  auto kept = without_jobserver(environment({"A=1", variable, "B=-j3 --jobserver-auth=3,4"}));
  REQUIRE(kept.starts_with(environment({"A=1"})));
  REQUIRE(kept.ends_with(environment({"B=-j3 --jobserver-auth=3,4"})));
  kept = kept.substr(4);
  return kept.substr(0, kept.find('\0'));
}

std::optional<Jobserver> of(const std::string& variable) {
  return jobserver_of(environment({"HOME=/root", variable, "LANG=C"}));
}

}  // namespace

TEST_CASE("the jobserver of GNU make, in all its styles") {
  CHECK(of("MAKEFLAGS= -j3 --jobserver-auth=3,4") == Jobserver{3, 4});
  CHECK(of("MAKEFLAGS=ks -j3 --jobserver-auth=12,15 -- CC=gcc") == Jobserver{12, 15});
  CHECK(of("MAKEFLAGS= --jobserver-fds=3,4 -j") == Jobserver{3, 4});  // before 4.2
  CHECK(of("MAKEFLAGS= -j8 --jobserver-auth=fifo:/tmp/GMfifo71") == Jobserver{});
  CHECK(of("MFLAGS=-j2 --jobserver-auth=5,6") == Jobserver{5, 6});
  CHECK(of("CARGO_MAKEFLAGS=-j --jobserver-fds=7,8 --jobserver-auth=7,8") == Jobserver{7, 8});
}

TEST_CASE("no jobserver") {
  CHECK_FALSE(jobserver_of(""));
  CHECK_FALSE(of("MAKEFLAGS="));
  CHECK_FALSE(of("MAKEFLAGS= -j3"));
  CHECK_FALSE(of("MAKEFLAGS= -j3 --jobserver-auth=-2,-2"));  // of a recipe that make does not take for a make
  CHECK_FALSE(of("MAKEFLAGS=k -- X=--jobserver-auth=3,4"));
  CHECK_FALSE(of("MAKEFLAGS=k -- --jobserver-auth=3,4"));
  CHECK_FALSE(of("XMAKEFLAGS= --jobserver-auth=3,4"));
}

TEST_CASE("what is left of the flags") {
  CHECK(stripped("MAKEFLAGS= -j3 --jobserver-auth=3,4") == "MAKEFLAGS=");
  CHECK(stripped("MAKEFLAGS=ks -j3 --jobserver-auth=3,4 -- CC=gcc -j5") == "MAKEFLAGS=ks -- CC=gcc -j5");
  CHECK(stripped("MAKEFLAGS= -I/a\\ -j3 --jobserver-auth=fifo:/tmp/x -l2.5") ==
        "MAKEFLAGS= -I/a\\ -j3 -l2.5");
  CHECK(stripped("MAKEFLAGS=w --jobserver-fds=3,4 -j") == "MAKEFLAGS=w");
  CHECK(stripped("MFLAGS=-k -j2 --jobserver-auth=5,6") == "MFLAGS=-k");
  CHECK(stripped("MAKEFLAGS=w --jobserver-style=fifo --just-print") ==
        "MAKEFLAGS=w --jobserver-style=fifo --just-print");
  CHECK(stripped("MAKEFLAGS=back\\") == "MAKEFLAGS=back\\");
}

TEST_CASE("who hands out jobs") {
  for (const auto* command : {"make", "gmake", "ninja", "cargo"}) CHECK(hands_out_jobs(command));
  for (const auto* command : {"cmake", "gcc", "", "makeinfo"}) CHECK_FALSE(hands_out_jobs(command));
}
