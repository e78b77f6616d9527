// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/allow_folder.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/test_folder.h"

using namespace ssi;

namespace {

struct Folder {
  TestFolder folder;
  const std::string& path = folder.path();
  AllowFolder allow{path};

  std::string put(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    const auto file = path + "/" + name;
    std::ofstream(file) << text;
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    return file;
  }
  std::vector<Rule> rules(const Config& defaults = {}) {
    std::vector<Rule> rules;
    const auto status = allow.append_rules(defaults, rules);
    REQUIRE_MESSAGE(status, status.error().text());
    return rules;
  }
  std::string error() {
    std::vector<Rule> rules;
    const auto status = allow.append_rules({}, rules);
    CHECK(rules.empty());
    return status ? "no error" : status.error().text();
  }
  // Where the rules for `name` stand, and the first of them.
  std::vector<std::string> files_for(const std::string& name) {
    std::vector<std::string> files;
    for (const auto& rule : rules())
      if (std::ranges::count(rule.match, name)) files.push_back(rule.file);
    return files;
  }
};

std::string app(const std::string& name) {
  return "[[app]]\nmatch = [\"" + name + "\"]\n";
}

using Files = std::vector<std::string>;

}  // namespace

TEST_CASE("no folder: the rules that came along, in order of their files") {
  Folder folder;
  AllowFolder none("/nonexistent/allow.d");
  std::vector<Rule> rules;
  REQUIRE(none.append_rules({}, rules));
  CHECK(rules.size() == folder.rules().size());
  REQUIRE(rules.size() > 10);
  CHECK(rules.front().file == "shipped blender.toml");
  CHECK(rules.back().file == "shipped povray.toml");
  CHECK(
      std::ranges::is_sorted(rules, {}, [](const Rule& rule) { return std::pair(rule.file, rule.number); }));
}

TEST_CASE("a file stands for the one of its name, others are added between; what else is there is none") {
  Folder folder;
  const auto shipped = folder.rules().size();
  folder.put("ffmpeg.toml", app("ffmpeg") + app("ffplay"));
  folder.put("mine.toml", app("heavy"));
  folder.put(".hidden.toml", "wrong");
  folder.put("ffmpeg.toml~", "wrong");
  folder.put("README", "wrong");
  const auto rules = folder.rules();
  CHECK(rules.size() == shipped + 2);
  CHECK(folder.files_for("ffmpeg") == Files{folder.path + "/ffmpeg.toml"});
  CHECK(folder.files_for("ffplay") == Files{folder.path + "/ffmpeg.toml"});
  const auto mine = std::ranges::find(rules, folder.path + "/mine.toml", &Rule::file);
  REQUIRE(mine != rules.end());
  CHECK(mine->number == 1);
  CHECK((mine - 1)->file == "shipped latex.toml");
  CHECK((mine + 1)->file == "shipped photographs.toml");
}

TEST_CASE("an empty file switches off the one that came along") {
  Folder folder;
  folder.put("ffmpeg.toml", "");
  REQUIRE(::symlink("/dev/null", (folder.path + "/blender.toml").c_str()) == 0);
  CHECK(folder.files_for("ffmpeg").empty());
  CHECK(folder.files_for("blender").empty());
  CHECK(folder.files_for("povray") == Files(2, "shipped povray.toml"));
}

TEST_CASE("each change is seen: a file that comes, changes, is replaced, goes") {
  Folder folder;
  CHECK(folder.files_for("heavy").empty());
  folder.put("x.toml", app("heavy"));
  CHECK(folder.files_for("heavy").size() == 1);
  CHECK(folder.files_for("heavy").size() == 1);
  folder.put("x.toml", app("another"));
  CHECK(folder.files_for("heavy").empty());
  CHECK(folder.files_for("another").size() == 1);
  std::filesystem::rename(folder.put("new", app("heavy")), folder.path + "/x.toml");
  CHECK(folder.files_for("heavy").size() == 1);
  REQUIRE(::unlink((folder.path + "/x.toml").c_str()) == 0);
  CHECK(folder.files_for("heavy").empty());
  folder.put("ffmpeg.toml", "");
  CHECK(folder.files_for("ffmpeg").empty());
  REQUIRE(::unlink((folder.path + "/ffmpeg.toml").c_str()) == 0);
  CHECK(folder.files_for("ffmpeg") == Files{"shipped ffmpeg.toml"});
}

TEST_CASE("a file that has not changed is not read again") {
  Folder folder;
  const auto file = folder.put("x.toml", app("heavy"));
  const timespec ahead[2] = {{0, 0}, {4'000'000'000, 0}};  // so that each reading moves the atime (relatime)
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), ahead, 0) == 0);
  const auto read_at = [&] {
    CHECK(folder.files_for("heavy").size() == 1);
    struct stat st {};
    REQUIRE(::stat(file.c_str(), &st) == 0);
    ::usleep(20'000);
    return std::pair(st.st_atim.tv_sec, st.st_atim.tv_nsec);
  };
  const auto first = read_at();
  CHECK(read_at() == first);
  if (first.first == 0) return;  // noatime
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), ahead, 0) == 0);
  CHECK(read_at() > first);
}

TEST_CASE("what a rule leaves open is of [defaults], also when these change") {
  Folder folder;
  folder.put("x.toml", app("heavy") + app("light") + "policy = \"local\"\nmin_seconds = 7\n");
  Config defaults;
  for (const auto policy : {Policy::remote, Policy::automatic}) {
    defaults.policy = policy;
    defaults.min_seconds = policy == Policy::remote ? 9 : 3;
    const auto rules = folder.rules(defaults);
    CHECK(rules.back().match == Files{"light"});
    CHECK(rules.back().policy == Policy::local);
    CHECK(rules.back().min_seconds == 7);
    CHECK(rules[rules.size() - 2].policy == policy);
    CHECK(rules[rules.size() - 2].min_seconds == defaults.min_seconds);
  }
}

TEST_CASE("what is wrong is one line, until it is mended") {
  Folder folder;
  const auto file = folder.path + "/ax.toml";
  folder.put("ax.toml", "\n[defaults]\npolicy = \"remote\"\n");
  for (int twice = 0; twice < 2; twice++)
    CHECK(folder.error() == file + ":2: unknown key 'defaults' (known: app)");
  folder.put("ax.toml", "[[app]]\nmatch = [\"x\"]\ngrace = -1\n");
  for (int twice = 0; twice < 2; twice++)
    CHECK(folder.error() == file + ":3: 'grace' must be a number that is not negative");
  folder.put("ax.toml", "[[app]\n");
  CHECK(folder.error().starts_with(file + ":1: "));
  folder.put("ax.toml", app("heavy"));
  CHECK(folder.files_for("heavy").size() == 1);
  REQUIRE(::mkdir((folder.path + "/ay.toml").c_str(), 0755) == 0);
  std::vector<Rule> rules;
  CHECK(folder.allow.append_rules({}, rules).error().text() ==
        folder.path + "/ay.toml: is not a regular file");
}

TEST_CASE("folder and files are held to what config.toml is") {
  Folder folder;
  const auto file = folder.put("ax.toml", app("heavy"));
  CHECK(folder.files_for("heavy").size() == 1);
  REQUIRE(::chmod(file.c_str(), 0664) == 0);  // of one that was read already
  CHECK(folder.error() == file + ": others may write to it: chmod go-w " + file);
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  CHECK(folder.files_for("heavy").size() == 1);
  REQUIRE(::chmod(folder.path.c_str(), 0777) == 0);
  CHECK(folder.error() == folder.path + ": others may write to it: chmod go-w " + folder.path);
  REQUIRE(::chmod(folder.path.c_str(), 0755) == 0);
  if (::geteuid() == 0) {
    REQUIRE(::chown(folder.path.c_str(), 12345, 12345) == 0);
    CHECK(folder.error() == folder.path + ": belongs to another user (uid 12345)");
    REQUIRE(::chown(folder.path.c_str(), 0, 0) == 0);
    REQUIRE(::chown(file.c_str(), 12345, 12345) == 0);
    CHECK(folder.error() == file + ": belongs to another user (uid 12345)");
  }
  AllowFolder none("/dev/null");
  std::vector<Rule> rules;
  CHECK(none.append_rules({}, rules).error().text() == "open /dev/null: Not a directory");
}

TEST_CASE("load_config: behind the other rules, and off with them") {
  const Folder folder;
  const TestFolder elsewhere;
  const auto user = elsewhere.path() + "/config.toml";
  folder.put("0.toml", app("heavy"));
  std::ofstream(user) << app("own");
  auto config = load_config("", user, folder.path);
  REQUIRE_MESSAGE(config, config.error().text());
  REQUIRE(config->apps.size() > 2);
  CHECK(config->apps[0].file == user);
  CHECK(config->apps[1].file == folder.path + "/0.toml");
  CHECK(config->apps[2].file == "shipped blender.toml");
  std::ofstream(user) << "[defaults]\nshipped = false\n" + app("own");
  config = load_config("", user, folder.path);
  REQUIRE(config);
  CHECK(config->apps.size() == 1);
  folder.put("0.toml", "wrong");
  CHECK(load_config("", user, folder.path));
}
