// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/program_needs.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>

using namespace ssi;

TEST_CASE("a program needs its loader, its libraries and the way to them") {
  const auto needs = needs_of("/bin/ls", {});
  const auto has = [&](const std::string& path) {
    return std::ranges::any_of(needs.entries(), [&](const auto& entry) { return entry.path == path; });
  };
  const auto content_of = [&](const std::string& name) {
    std::uint64_t sum = 0;
    for (const auto& entry : needs.entries())
      if (entry.path.find(name) != entry.path.npos)
        for (const auto& range : entry.ranges) sum += range.size;
    return sum;
  };
  char real[PATH_MAX];
  REQUIRE(::realpath("/bin/ls", real));
  CHECK(has(real));
  CHECK(has("/etc/ld.so.cache"));
  CHECK(has("/usr"));
  CHECK(content_of("libc.so") > 100'000);
  CHECK(content_of("libc.so") < 1'500'000);  // not its code
  CHECK(content_of("ld-linux") > 0);
}

TEST_CASE("what is no program needs nothing") {
  CHECK(needs_of("/etc/passwd", {}).empty());
  CHECK(needs_of("/nowhere", {}).empty());
  CHECK(needs_of("/", {}).empty());
}
