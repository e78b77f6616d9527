// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();

bool has(const wire::Invalidate& stale, std::uint64_t node) {
  return std::find(stale.nodes.begin(), stale.nodes.end(), node) != stale.nodes.end();
}

bool has(const wire::Invalidate& stale, std::uint64_t parent, const std::string& name) {
  return std::any_of(stale.names.begin(), stale.names.end(),
                     [&](const auto& it) { return it.parent == parent && it.name == name; });
}

// What was read of files younger than a tick of the kernel's clock always counts as changed.
void settle() {
  ::usleep(40'000);
}

}  // namespace

TEST_CASE("what changed at home since a guest was told is stale, and nothing else") {
  TestHome home;
  for (const auto* name : {"same", "edited", "moved", "gone", "replaced", "chmod"}) home.write(name, "text");
  settle();
  const auto node = [&](const std::string& name) { return home.look(home.root(), name).node; };
  const auto same = node("same"), edited = node("edited"), moved = node("moved"), gone = node("gone");
  const auto replaced = node("replaced"), mode = node("chmod");
  CHECK(home.look(home.root(), "later").node == 0);
  CHECK(home.look(home.root(), "never").node == 0);
  home.server().stale();  // the directory was told while it was fresh
  CHECK(home.ask(wire::Getattr{home.root(), 0}));
  const auto nothing = home.server().stale();  // but for /tmp, where others are busy
  for (const auto number : {home.root(), same, edited, moved, gone, replaced, mode})
    CHECK_FALSE(has(nothing, number));
  CHECK(nothing.names.empty());

  settle();
  home.write("edited", "TEXT");
  std::filesystem::rename(home.path("moved"), home.path("moved2"));
  std::filesystem::remove(home.path("gone"));
  home.write("new", "");
  std::filesystem::rename(home.path("new"), home.path("replaced"));
  ::chmod(home.path("chmod").c_str(), 0700);
  home.write("later", "");
  const auto stale = home.server().stale();
  CHECK_FALSE(has(stale, same));
  CHECK_FALSE(has(stale, home.root(), "same"));
  CHECK_FALSE(has(stale, home.root(), "never"));
  CHECK(has(stale, edited));
  CHECK_FALSE(has(stale, home.root(), "edited"));
  CHECK(has(stale, home.root(), "moved"));
  CHECK(has(stale, moved));  // its ctime
  CHECK(has(stale, home.root(), "gone"));
  CHECK(has(stale, gone));
  CHECK(has(stale, home.root(), "replaced"));
  CHECK(has(stale, replaced));
  CHECK(has(stale, mode));
  CHECK(has(stale, home.root(), "later"));
  CHECK(has(stale, home.root()));  // the directory itself: its times

  const auto again = home.server().stale();  // once is enough
  for (const auto number : {home.root(), edited, moved, gone, replaced, mode})
    CHECK_FALSE(has(again, number));
  CHECK(again.names.empty());
}

TEST_CASE("entries of a listing count, and fresh files are racy") {
  TestHome home;
  std::filesystem::create_directory(home.path("dir"));
  home.write("dir/a", "");
  settle();
  const auto dir = home.look(home.root(), "dir").node;
  const auto handle = home.open(dir, O_RDONLY | O_DIRECTORY);
  std::uint64_t a = 0;
  const auto page = home.ask(wire::Readdir{handle, 0, 1});
  for (const auto& entry : page->entries)
    if (entry.name == "a") a = entry.entry.node;
  home.write("dir/a", "now");
  CHECK(has(home.server().stale(), a));

  home.write("fresh", "");
  const auto fresh = home.look(home.root(), "fresh").node;
  home.open(fresh, O_RDONLY);  // of its content nothing is sure
  home.look(home.root(), "fresh");
  CHECK(has(home.server().stale(), fresh));

  home.look(home.root(), "fresh");
  home.write("fresh", "changed");
  std::filesystem::remove(home.path("dir/a"));
  const auto stale = home.server().stale();
  CHECK(has(stale, fresh));
  CHECK(has(stale, dir, "a"));
}

TEST_CASE("a directory on which something was mounted is stale, also when the table of mounts was read before") {
  if (!can_mount()) return;
  TestHome home;
  std::filesystem::create_directory(home.path("m"));
  home.look(home.root(), "m");
  home.server().mounts();
  home.server().stale();
  home.look(home.root(), "m");
  CHECK_FALSE(has(home.server().stale(), home.root(), "m"));
  REQUIRE(::mount("none", home.path("m").c_str(), "tmpfs", 0, nullptr) == 0);
  home.server().mounts();
  CHECK(has(home.server().stale(), home.root(), "m"));
  home.server().idle();
  CHECK(::umount(home.path("m").c_str()) == 0);
}
