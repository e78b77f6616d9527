// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/oom_kills.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

using namespace ssi;

TEST_CASE("kills count from when they are watched for") {
  char name[] = "/tmp/ssi-oom-kills-test.XXXXXX";
  const int file = ::mkstemp(name);
  REQUIRE(file >= 0);
  ::close(file);
  const auto write = [&](int kills) {
    std::ofstream(name) << "max 7\noom 9\noom_kill " << kills << "\noom_group_kill 5\n";
  };
  write(3);
  const OomKills kills{std::string(name)};
  CHECK_FALSE(kills.any());
  write(4);
  CHECK(kills.any());
  ::unlink(name);
  CHECK_FALSE(kills.any());
}

TEST_CASE("every process has a counter, if only the kernel's") {
  CHECK_FALSE(OomKills().any());
  CHECK_FALSE(OomKills(::getpid()).any());
}
