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

bool matches(const Config& config, const std::string& path, std::vector<std::string> argv) {
  return judge(config, {path, std::move(argv)}).rule != nullptr;
}

// Why the only rule does not match a command; empty: it does.
std::string miss(const Rule& rule, Command command) {
  command.path = "/usr/bin/heavy";
  const auto config = with({rule});
  const auto ruling = judge(config, command);
  REQUIRE(ruling.missed.size() == (ruling.rule ? 0 : 1));
  return ruling.rule ? "" : ruling.missed[0].why;
}

}  // namespace

TEST_CASE("a pattern without a slash names a basename, one with a slash a path") {
  const auto config = with({rule({"ffmpeg", "/opt/ff*/bin/x264", "clang-*"})});
  CHECK(matches(config, "/usr/bin/ffmpeg", {"ffmpeg"}));
  CHECK(matches(config, "./ffmpeg", {"ffmpeg"}));
  CHECK(matches(config, "ffmpeg", {"other"}));
  CHECK_FALSE(matches(config, "/usr/bin/ffmpeg2", {"ffmpeg"}));
  CHECK(matches(config, "/opt/ff6/bin/x264", {"x264"}));
  CHECK_FALSE(matches(config, "/opt/ff/6/bin/x264", {"x264"}));
  CHECK_FALSE(matches(config, "/usr/bin/x264", {"x264"}));
  CHECK(matches(config, "/usr/bin/clang-14", {"clang"}));
}

TEST_CASE("**/ begins the end of a path") {
  const auto config = with({rule({"**/ccache/*", "**/tools/x264"})});
  for (const char* path : {"/usr/lib/ccache/gcc", "lib/ccache/gcc", "ccache/gcc", "/ccache/gcc",
                           "//ccache/gcc", "/a/tools/x264"})
    CHECK_MESSAGE(matches(config, path, {"gcc"}), path);
  for (const char* path : {"/usr/bin/ccache", "/usr/lib/ccache/bin/gcc", "/usr/lib/myccache/gcc",
                           "/a/tools/x264/b", "gcc", "", "/"})
    CHECK_FALSE_MESSAGE(matches(config, path, {"gcc"}), path);
}

TEST_CASE("one unwanted argument is enough to not match; argv[0] is none") {
  const auto unwanted = rule({"heavy"}, {"-version", "/dev/*"});
  CHECK(miss(unwanted, {"", {"-version", "-i", "x"}}).empty());
  CHECK(miss(unwanted, {"", {"heavy", "-i", "x", "-version"}}) == "argument '-version' is in not_args");
  CHECK(miss(unwanted, {"", {"heavy", "/dev/dri/card0"}}) == "argument '/dev/dri/card0' is in not_args");
  CHECK(miss(unwanted, {"", {}}).empty());
}

TEST_CASE("of the wanted arguments one must be there") {
  const auto wanted = rule({"heavy"}, {}, {"-i", "-f"});
  CHECK(miss(wanted, {"", {"heavy", "-y", "-i", "x"}}).empty());
  CHECK(miss(wanted, {"", {"heavy", "-y"}}) == "no argument is in when_args ('-i', '-f')");
  CHECK_FALSE(miss(wanted, {"", {"-i"}}).empty());
  CHECK_FALSE(miss(wanted, {"", {}}).empty());
}

TEST_CASE("the environment: all that is wanted, nothing that is not") {
  auto it = rule({"heavy"});
  it.when_env = {{"CLASS", "batch*"}, {"EMPTY", ""}};
  it.not_env = {"LOCAL", "MY_*"};
  CHECK(miss(it, {"", {}, "", {"CLASS=batch-7", "EMPTY="}}).empty());
  CHECK(miss(it, {"", {}, "", {"CLASS=other", "EMPTY="}}) == "when_env wants CLASS=batch*");
  CHECK(miss(it, {"", {}, "", {"CLASSY=batch", "EMPTY="}}) == "when_env wants CLASS=batch*");
  CHECK(miss(it, {"", {}, "", {"CLASS=batch"}}) == "when_env wants EMPTY=");
  CHECK(miss(it, {"", {}, "", {"CLASS=batch", "EMPTY=", "LOCAL=0"}}) == "LOCAL is set (not_env)");
  CHECK(miss(it, {"", {}, "", {"CLASS=batch", "EMPTY=", "MY_X=1"}}) == "MY_X is set (not_env)");
}

TEST_CASE("the folder: it, and what lies in it") {
  auto it = rule({"heavy"});
  it.cwd_under = {"/home/*", "/srv"};
  for (const char* inside : {"/home/u", "/home/u/a/b", "/srv", "/srv/x"})
    CHECK(miss(it, {"", {}, inside}).empty());
  CHECK(miss(it, {"", {}, "/srvx"}) == "/srvx is not in cwd_under ('/home/*', '/srv')");
  CHECK_FALSE(miss(it, {"", {}, "/home"}).empty());
}

TEST_CASE("the input is asked for only when a rule wants some") {
  auto it = rule({"heavy"});
  const auto never = [] {
    FAIL("asked");
    return std::uint64_t{0};
  };
  CHECK(miss(it, {"", {}, "", {}, never}).empty());
  it.min_input_mb = 1.5;
  CHECK(miss(it, {"", {}, "", {}, [] { return std::uint64_t{1'500'000}; }}).empty());
  CHECK(miss(it, {"", {}, "", {}, [] { return std::uint64_t{1'390'000}; }}) ==
        "the input has 1.4 MB, min_input_mb is 1.5");
  CHECK_FALSE(miss(it, {}).empty());
}

TEST_CASE("the first rule that matches wins, and those before it say why not") {
  const auto config = with({rule({"gcc"}, {"-c"}), rule({"cc", "gcc"}), rule({"gcc"})});
  const auto ruling = judge(config, {"/usr/bin/gcc", {"gcc", "-c", "x.c"}});
  CHECK(ruling.rule == &config.apps[1]);
  CHECK(ruling.pattern == "gcc");
  REQUIRE(ruling.missed.size() == 1);
  CHECK(ruling.missed[0].rule == &config.apps[0]);
  CHECK(judge(config, {"/usr/bin/gcc", {"gcc"}}).rule == &config.apps[0]);
  CHECK(judge(Config{}, {"/usr/bin/gcc", {"gcc"}}).rule == nullptr);
}

TEST_CASE("why a rule keeps a command home") {
  auto it = rule({"heavy"});
  it.file = "/etc/x";
  it.number = 3;
  CHECK(reason_for_home(it).empty());
  it.gui = true;
  CHECK(reason_for_home(it) == "/etc/x: rule 3 says that it shows windows (gui)");
  it.policy = Policy::local;
  CHECK(reason_for_home(it) == "/etc/x: rule 3 says local");
}

TEST_CASE("variables are dropped by name") {
  using namespace std::string_literals;
  const auto all = "A=1\0DISPLAY=:0\0LC_ALL=C\0odd\0LC_X=A=2\0"s;
  CHECK(without_variables(all, {}) == all);
  CHECK(without_variables(all, {"DISPLAY", "LC_*"}) == "A=1\0odd\0"s);
  CHECK(without_variables(all, {"odd", "A"}) == "DISPLAY=:0\0LC_ALL=C\0LC_X=A=2\0"s);
  CHECK(without_variables("", {"A"}).empty());
  CHECK(without_variables("A=1", {"B"}) == "A=1");
}
