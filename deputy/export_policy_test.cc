// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/export_policy.h"

#include <doctest/doctest.h>
#include <linux/fs.h>

#include "common/paths.h"
#include "deputy/test_home.h"
#include "deputy/undo_keep.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();

TestHome::Options rules() {
  TestHome::Options options;
  options.rules.hidden = {"HOME/.ssh", "HOME/later"};
  options.rules.read_only = {"HOME/.bashrc", "HOME/.config/autostart", "HOME/cron*"};
  return options;
}

std::vector<std::string> listing(TestHome& home, std::uint64_t dir) {
  std::vector<std::string> names;
  for (const auto& entry :
       home.ask(wire::Readdir{home.open(dir, O_RDONLY), 0, 1}).value_or(wire::DirPage{}).entries)
    names.push_back(entry.name);
  return names;
}

}  // namespace

TEST_CASE("secrets are not there, by name and by what they are") {
  TestHome home(rules());
  std::filesystem::create_directory(home.path(".ssh"));
  home.write(".ssh/id", "secret");
  home.write("open", "");
  home.policy().refresh();
  CHECK(home.error(wire::Lookup{home.root(), ".ssh", me}) == wire::hidden);
  CHECK(home.look(home.root(), "later").node == 0);  // which there is not at home either
  const auto names = listing(home, home.root());
  CHECK(std::find(names.begin(), names.end(), "open") != names.end());
  CHECK(std::find(names.begin(), names.end(), ".ssh") == names.end());
  CHECK(home.error(wire::Mkdir{home.root(), ".ssh", 0700, me}) == wire::hidden);
  CHECK(home.error(wire::Rename{home.root(), ".ssh", home.root(), "stolen", 0, me}) == wire::hidden);
  CHECK(home.error(wire::Rmdir{home.root(), ".ssh", me}) == wire::hidden);
  CHECK(home.error(wire::Rename{home.root(), "open", home.root(), ".ssh", 0, me}) == wire::hidden);

  std::filesystem::create_directory(home.path("later"));  // after the rules were looked at
  CHECK(home.error(wire::Lookup{home.root(), "later", me}) == wire::hidden);
  std::filesystem::rename(home.path(".ssh"), home.path("elsewhere"));
  CHECK(home.error(wire::Lookup{home.root(), "elsewhere", me}) == wire::hidden);
  home.policy().refresh();  // another job starts
  CHECK(home.error(wire::Lookup{home.root(), "elsewhere", me}) == wire::hidden);
  CHECK(home.policy().hides_path(home.path("later/deep/down")));
  CHECK_FALSE(home.policy().hides_path(home.path("open")));
}

TEST_CASE("what is kept to undo a job's changes is no secret, though it is kept among ssi's own files") {
  TestHome home(rules());
  const auto kept = home.path(".ssh/undo/" + std::string(UndoKeep::prefix) + "0-1");
  std::filesystem::create_directories(kept);
  home.write("file", "text");
  home.write(".ssh/undo/id", "secret");
  std::filesystem::create_hard_link(home.path("file"), kept + "/1");
  std::filesystem::create_hard_link(home.path(".ssh/undo/id"), home.path("id"));
  home.policy().refresh();  // another job starts
  CHECK(home.error(wire::Lookup{home.root(), "file", me}) == 0);
  CHECK(home.error(wire::Lookup{home.root(), "id", me}) == wire::hidden);
}

TEST_CASE("what home would run by itself is read-only") {
  TestHome home(rules());
  std::filesystem::create_directories(home.path(".config/autostart/sub"));
  home.write(".bashrc", "alias");
  home.write("cron.d", "");
  home.write(".config/autostart/sub/x", "x");
  home.write("innocent", "");
  home.policy().refresh();
  const auto bashrc = home.look(home.root(), ".bashrc").node;
  CHECK(home.read(home.open(bashrc, O_RDONLY), 0, 10) == "alias");
  CHECK(home.error(wire::Open{bashrc, home.next_handle(), O_WRONLY, me}) == EROFS);
  CHECK(home.error(wire::Open{bashrc, home.next_handle(), O_RDONLY | O_TRUNC, me}) == EROFS);
  auto set = TestHome::setting(bashrc, wire::Setattr::set_size);
  CHECK(home.error(set) == EROFS);
  set.fields = wire::Setattr::set_mode;
  CHECK(home.error(set) == EROFS);
  CHECK(home.error(wire::Setxattr{bashrc, "user.x", 0, me}, "x") == EROFS);
  CHECK(home.error(wire::Removexattr{bashrc, "user.x", me}) == EROFS);
  CHECK(home.error(wire::Access{bashrc, W_OK, me}) == EROFS);
  CHECK(home.error(wire::Access{bashrc, R_OK, me}) == 0);
  CHECK(home.error(wire::Unlink{home.root(), ".bashrc", me}) == EROFS);
  CHECK(home.error(wire::Link{bashrc, home.root(), "handle-to-it", me}) == EROFS);
  CHECK(home.error(wire::Rename{home.root(), "innocent", home.root(), ".bashrc", 0, me}) == EROFS);
  CHECK(home.error(wire::Create{home.root(), "cron.hourly", 0600, O_RDWR, home.next_handle(), me}) == EROFS);
  CHECK(home.error(wire::Open{home.look(home.root(), "cron.d").node, home.next_handle(), O_RDWR, me}) ==
        EROFS);

  const auto config = home.look(home.root(), ".config").node;
  const auto sub = home.look(home.look(config, "autostart").node, "sub").node;
  CHECK(home.error(wire::Mkdir{sub, "y", 0700, me}) == EROFS);
  CHECK(home.error(wire::Symlink{sub, "y", "z", me}) == EROFS);
  CHECK(home.error(wire::Mknod{sub, "y", S_IFREG | 0600, 0, me}) == EROFS);
  CHECK(home.error(wire::Open{home.look(sub, "x").node, home.next_handle(), O_RDWR, me}) == EROFS);
  CHECK(home.content(".config/autostart/sub/x") == "x");

  // Nor by way of another directory in its place.
  CHECK(home.error(wire::Rename{home.root(), ".config", home.root(), "old", 0, me}) == EROFS);
  CHECK(home.error(wire::Mkdir{config, "fine", 0700, me}) == 0);
  CHECK(home.error(wire::Rename{home.root(), "innocent", config, "fine too", 0, me}) == 0);
  CHECK(std::filesystem::exists(home.path(".config/autostart")));

  // A hard link made at home is the same file.
  std::filesystem::create_hard_link(home.path(".bashrc"), home.path("alias"));
  CHECK(home.error(wire::Open{home.look(home.root(), "alias").node, home.next_handle(), O_RDWR, me}) ==
        EROFS);
}

TEST_CASE("what lies deep in a hidden or read-only directory is known under other names") {
  TestHome home(rules());
  std::filesystem::create_directories(home.path(".ssh/keys"));
  std::filesystem::create_directories(home.path(".config/autostart"));
  home.write(".ssh/keys/id", "secret");
  home.write(".config/autostart/x", "x");
  home.policy().refresh();
  std::filesystem::create_hard_link(home.path(".ssh/keys/id"), home.path("pub"));
  CHECK(home.error(wire::Lookup{home.root(), "pub", me}) == wire::hidden);
  const auto names = listing(home, home.root());
  CHECK(std::find(names.begin(), names.end(), "pub") == names.end());
  std::filesystem::create_hard_link(home.path(".config/autostart/x"), home.path("x"));
  CHECK(home.error(wire::Open{home.look(home.root(), "x").node, home.next_handle(), O_RDWR, me}) == EROFS);
  CHECK(home.error(wire::Unlink{home.root(), "x", me}) == EROFS);

  home.write(".ssh/keys/new", "secret");  // since the rules were looked at
  std::filesystem::create_hard_link(home.path(".ssh/keys/new"), home.path("new"));
  ::usleep(1'100'000);
  CHECK(home.error(wire::Lookup{home.root(), "new", me}) == wire::hidden);

  // A file that the guest has met before it was hidden.
  home.write("seen", "");
  const auto seen = home.look(home.root(), "seen").node;
  std::filesystem::rename(home.path("seen"), home.path(".ssh/seen"));
  home.policy().refresh();
  CHECK(home.error(wire::Open{seen, home.next_handle(), O_RDONLY, me}) == wire::hidden);
}

TEST_CASE("links on the way to what is read-only stay") {
  TestHome home(rules());
  std::filesystem::create_directories(home.path("dots/config/autostart"));
  std::filesystem::create_directories(home.path("dots/shell"));
  home.write("dots/shell/rc", "");
  std::filesystem::create_symlink("dots/config", home.path(".config"));
  std::filesystem::create_symlink("dots/shell/rc", home.path(".bashrc"));
  home.policy().refresh();
  CHECK(home.error(wire::Unlink{home.root(), ".config", me}) == EROFS);
  CHECK(home.error(wire::Rename{home.root(), "dots", home.root(), "old", 0, me}) == EROFS);
  const auto dots = home.look(home.root(), "dots").node;
  CHECK(home.error(wire::Rename{dots, "shell", dots, "old", 0, me}) == EROFS);
  const auto shell = home.look(dots, "shell").node;
  CHECK(home.error(wire::Open{home.look(shell, "rc").node, home.next_handle(), O_RDWR, me}) == EROFS);
  CHECK(home.error(wire::Unlink{shell, "rc", me}) == EROFS);
  CHECK(home.error(wire::Mkdir{shell, "other", 0700, me}) == 0);
}

TEST_CASE("other rules of the configuration") {
  TestHome home(rules());
  home.write("mine", "");
  CHECK(home.error(wire::Lookup{home.root(), "mine", me}) == 0);
  ExportRules added;
  added.hidden = {home.path("mine")};
  home.policy().follow(added, false);
  CHECK(home.error(wire::Lookup{home.root(), "mine", me}) == wire::hidden);
  CHECK(home.policy().hides_path(home.path(".ssh")));
  home.policy().follow({}, true);
  home.policy().forget_former();
  CHECK(home.error(wire::Lookup{home.root(), "mine", me}) == 0);
}

TEST_CASE("a rule's directory that is not there yet cannot be a link") {
  TestHome home(rules());
  CHECK(home.error(wire::Symlink{home.root(), ".config", "/tmp", me}) == EROFS);
  const auto config = home.ask(wire::Mkdir{home.root(), ".config", 0700, me});
  REQUIRE(config);
  CHECK(home.error(wire::Mkdir{config->node, "autostart", 0700, me}) == EROFS);
}

TEST_CASE("the defaults name the user's own secrets") {
  const ExportPolicy policy(ExportRules{{"~/mine"}, {}});
  const auto home = std::filesystem::weakly_canonical(paths::home_dir()).string();
  CHECK(policy.hides_path(home + "/.ssh/id_ed25519"));
  CHECK(policy.hides_path(home + "/.config/chromium"));
  CHECK(policy.hides_path(home + "/mine"));
  CHECK(policy.kept_path("/run/user/1000/bus") == Kept::absent);
  CHECK(policy.kept_path(home + "/.ssh") == Kept::hidden);
  CHECK_FALSE(policy.hides_path(home + "/work"));
  CHECK_FALSE(policy.hides_path("/"));
}
