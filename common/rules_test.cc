// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/rules.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

Rule rule(std::vector<std::string> match, std::vector<std::string> not_args = {},
          std::vector<std::string> when_args = {}) {
  Rule made;
  made.match = std::move(match);
  made.not_args = std::move(not_args);
  made.when_args = std::move(when_args);
  return made;
}

Config with(std::vector<Rule> rules) {
  Config config;
  config.apps = std::move(rules);
  return config;
}

}  // namespace

TEST_CASE("a pattern without a slash names a basename, one with a slash a path") {
  const auto config = with({rule({"ffmpeg", "/opt/ff*/bin/x264", "clang-*"})});
  CHECK(find_rule(config, "/usr/bin/ffmpeg", {"ffmpeg"}));
  CHECK(find_rule(config, "./ffmpeg", {"ffmpeg"}));
  CHECK(find_rule(config, "ffmpeg", {"other"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg2", {"ffmpeg"}));
  CHECK(find_rule(config, "/opt/ff6/bin/x264", {"x264"}));
  CHECK_FALSE(find_rule(config, "/opt/ff/6/bin/x264", {"x264"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/x264", {"x264"}));
  CHECK(find_rule(config, "/usr/bin/clang-14", {"clang"}));
}

TEST_CASE("one unwanted argument is enough to not match; argv[0] is none") {
  const auto config = with({rule({"ffmpeg"}, {"-version", "/dev/*"})});
  CHECK(find_rule(config, "/usr/bin/ffmpeg", {"-version", "-i", "x"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg", {"ffmpeg", "-i", "x", "-version"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg", {"ffmpeg", "/dev/dri/card0"}));
  CHECK(find_rule(config, "/usr/bin/ffmpeg", {}));
}

TEST_CASE("of the wanted arguments one must be there") {
  const auto config = with({rule({"ffmpeg"}, {}, {"-i", "-f"})});
  CHECK(find_rule(config, "/usr/bin/ffmpeg", {"ffmpeg", "-y", "-i", "x"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg", {"ffmpeg", "-y"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg", {"-i"}));
  CHECK_FALSE(find_rule(config, "/usr/bin/ffmpeg", {}));
}

TEST_CASE("the first rule that matches wins, and tells which it was") {
  const auto config = with({rule({"gcc"}, {"-c"}), rule({"cc", "gcc"}), rule({"gcc"})});
  const auto found = match_rule(config, "/usr/bin/gcc", {"gcc", "-c", "x.c"});
  REQUIRE(found);
  CHECK(found->index == 1);
  CHECK(found->pattern == "gcc");
  CHECK(match_rule(config, "/usr/bin/gcc", {"gcc"})->index == 0);
  CHECK_FALSE(match_rule(Config{}, "/usr/bin/gcc", {"gcc"}));
}
