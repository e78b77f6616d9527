// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/profile.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

using Ranges = std::vector<Profile::Range>;

}  // namespace

TEST_CASE("paths are kept once, in the order in which they were met") {
  Profile profile;
  for (const auto* path : {"/usr", "/usr/lib", "/usr", "/usr/lib/x"}) profile.looked_up(path);
  REQUIRE(profile.entries().size() == 3);
  CHECK(profile.entries()[0].path == "/usr");
  CHECK(profile.entries()[2].path == "/usr/lib/x");
  profile.looked_up("relative");
  profile.looked_up("");
  CHECK(profile.entries().size() == 3);
}

TEST_CASE("what was read on is one range, what was read elsewhere another one") {
  Profile profile;
  profile.read("/a", {0, 100});
  profile.read("/a", {100, 50});
  profile.read("/a", {1000, 10});
  profile.read("/a", {990, 15});
  profile.read("/a", {20, 10});
  profile.read("/a", {5, 0});
  CHECK(profile.entries().at(0).ranges == Ranges{{0, 150}, {990, 20}});
  CHECK(profile.ranges() == 2);
}

TEST_CASE("it does not grow beyond its limits") {
  Profile profile;
  for (std::size_t i = 0; i < 2 * Profile::most_paths; ++i) profile.looked_up("/" + std::to_string(i));
  CHECK(profile.entries().size() == Profile::most_paths);
  for (std::uint64_t i = 0; i < 2 * Profile::most_ranges; ++i) profile.read("/1", {i * 10, 1});
  CHECK(profile.ranges() == Profile::most_ranges);
  Profile large;
  large.read("/1", {0, Profile::most_bytes});
  large.read("/2", {0, 1});
  large.read("/1", {Profile::most_bytes, 1});
  CHECK(large.ranges() == 1);
  CHECK(large.entries()[0].ranges[0].size == Profile::most_bytes);
}

TEST_CASE("as text and back") {
  Profile profile;
  profile.looked_up("/usr");
  profile.read("/usr/with space\n", {4096, 131072});
  profile.read("/usr/with space\n", {0, 7});
  profile.looked_up("/end");
  CHECK(Profile::of_text(profile.text()).entries() == profile.entries());
  CHECK(Profile::of_text("").empty());
  CHECK(Profile::of_text(std::string("x\0y\0/a\0zz 1+\0/b\0""5+6 7", 21)).entries() ==
        std::vector<Profile::Entry>{{"/a", {}}, {"/b", {{5, 6}}}});
}

TEST_CASE("two runs together, and what only one run needs") {
  Profile one, other;
  one.read("/lib/c", {0, 10});
  other.read("/lib/c", {10, 10});
  other.looked_up("/work/in.jpg");
  one.add(other);
  CHECK(one.entries().size() == 2);
  CHECK(one.entries()[0].ranges == Ranges{{0, 20}});
  const auto kept = one.without([](const std::string& path) { return path.starts_with("/work"); });
  CHECK(kept.entries().size() == 1);
}

TEST_CASE("a file that the arguments name is this run's own") {
  const std::vector<std::string> arguments{"convert", "in.jpg", "-o", "../out/x.png", "--list=/data/list.txt", "dir"};
  const NamedFiles files(arguments, "/home/u/work");
  const auto named = [&](const std::string& path) { return files.has(path); };
  CHECK(named("/home/u/work/in.jpg"));
  CHECK(named("/home/u/out/x.png"));
  CHECK(named("/data/list.txt"));
  CHECK(named("/home/u/work/dir"));
  CHECK(named("/home/u/work/dir/sub/file"));
  CHECK_FALSE(named("/home/u/work/directory"));
  CHECK_FALSE(named("/usr/lib/libMagick.so"));
  CHECK_FALSE(named("/convert"));
}

TEST_CASE("of many commands those that are used are remembered") {
  Profiles profiles;
  Profile one;
  one.looked_up("/one");
  CHECK(profiles.of("a") == nullptr);
  CHECK_FALSE(profiles.add("a", Profile()));
  CHECK(profiles.add("a", one));
  CHECK_FALSE(profiles.add("a", one));
  for (std::size_t i = 0; i < Profiles::most; ++i) {
    CHECK(profiles.add(std::to_string(i), one));
    CHECK(profiles.of("a"));
  }
  CHECK(profiles.of("0") == nullptr);
}
