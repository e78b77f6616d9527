// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();

bool has(const wire::Invalidate& told, std::uint64_t node) {
  return std::find(told.nodes.begin(), told.nodes.end(), node) != told.nodes.end();
}

bool has(const wire::Invalidate& told, std::uint64_t parent, const std::string& name) {
  return std::any_of(told.names.begin(), told.names.end(),
                     [&](const auto& it) { return it.parent == parent && it.name == name; });
}

// What was read of files younger than a tick of the kernel's clock always counts as changed.
void settle() {
  ::usleep(40'000);
}

}  // namespace

TEST_CASE("a guest is told of what happens at home, and of nothing else") {
  TestHome home;
  for (const auto* name : {"same", "edited", "moved", "gone", "chmod"}) home.write(name, "text");
  settle();
  const auto node = [&](const std::string& name) { return home.look(home.root(), name).node; };
  const auto same = node("same"), edited = node("edited"), moved = node("moved"), gone = node("gone");
  const auto mode = node("chmod");
  CHECK(node("later") == 0);
  CHECK(node("never") == 0);
  home.told();

  home.write("edited", "TEXT");
  auto told = home.told();
  CHECK(has(told, edited));
  CHECK(told.names.empty());
  CHECK_FALSE(has(told, same));
  CHECK(home.ask(wire::Getattr{home.root(), 0}));
  std::filesystem::rename(home.path("moved"), home.path("later"));
  told = home.told();
  CHECK(has(told, home.root(), "moved"));
  CHECK(has(told, home.root(), "later"));
  CHECK(has(told, moved));  // its ctime
  CHECK(has(told, home.root()));
  std::filesystem::remove(home.path("gone"));
  ::chmod(home.path("chmod").c_str(), 0700);
  told = home.told();
  CHECK(has(told, home.root(), "gone"));
  CHECK(has(told, gone));
  CHECK(has(told, mode));
  CHECK_FALSE(has(told, same));
  CHECK_FALSE(has(told, home.root(), "same"));
  CHECK_FALSE(has(told, home.root(), "never"));
  home.write("edited", "text");  // the guest has not asked again
  CHECK_FALSE(has(home.told(), edited));
}

TEST_CASE("what a guest does itself it is not told of; what others do meanwhile it is") {
  TestHome home;
  home.write("file", "text");
  settle();
  const auto file = home.look(home.root(), "file").node;
  const auto dir = home.ask(wire::Mkdir{home.root(), "dir", 0755, me})->node;
  const auto handle = home.open(file, O_RDWR);
  settle();
  home.look(home.root(), "file");
  home.told();
  for (int i = 0; i < 3; ++i) {
    CHECK(home.ask(wire::Write{handle, 0}, "more"));
    CHECK_FALSE(has(home.told(), file));
  }
  CHECK(home.ask(wire::Symlink{dir, "link", "to", me}));
  CHECK(home.ask(wire::Rename{home.root(), "file", dir, "file", 0, me}));
  CHECK(home.ask(wire::Unlink{dir, "link", me}));
  const auto mine = home.told();
  CHECK(mine.names.empty());
  for (const auto number : {home.root(), file, dir}) CHECK_FALSE(has(mine, number));

  CHECK(home.ask(wire::Getattr{file, 0}));
  CHECK(home.ask(wire::Write{handle, 0}, "mine"));
  CHECK(home.ask(wire::Getattr{file, 0}));
  home.write("dir/file", "theirs");
  CHECK(has(home.told(), file));
  // Its kernel believes in the name under which it put the file there for what was left of the old one's time.
  std::filesystem::remove(home.path("dir/file"));
  CHECK(has(home.told(), dir, "file"));
}

TEST_CASE("what others write between two writes of the guest's it is told of, also when it is heard of behind the second one") {
  TestHome home;
  home.write("file", "0123456789");
  settle();
  const auto file = home.look(home.root(), "file").node;
  const auto handle = home.open(file, O_RDWR);
  const Fd other(::open(home.path("file").c_str(), O_WRONLY | O_CLOEXEC));
  for (int turn = 0; turn < 10; ++turn) {
    CHECK(home.ask(wire::Write{handle, 0}, "a"));
    ::usleep(12'000);  // another time, for a kernel that counts in ticks
    CHECK_FALSE(has(home.told(), file));
    home.server().tell_news();  // so what comes within the next 5 ms is looked at later
    CHECK(::pwrite(other.get(), "X", 1, 5) == 1);
    CHECK(home.ask(wire::Write{handle, 1}, "b"));
    CHECK(has(home.told(), file));
  }
}

TEST_CASE("what others write into a file that the guest has emptied it is told of, also when both are heard of at once") {
  TestHome home;
  home.write("file", "0123456789");
  settle();
  const auto file = home.look(home.root(), "file").node;
  const Fd other(::open(home.path("file").c_str(), O_WRONLY | O_CLOEXEC));
  for (int turn = 0; turn < 10; ++turn) {
    const auto handle = home.open(file, O_RDWR | O_TRUNC);
    CHECK(::pwrite(other.get(), "X", 1, turn) == 1);
    CHECK(has(home.told(), file));
    home.tell(wire::Release{handle});
  }
}

TEST_CASE("a guest goes on believing in the size of what it has renamed or unlinked") {
  TestHome home;
  home.write("file", "text");
  std::filesystem::create_hard_link(home.path("file"), home.path("link"));
  settle();
  const auto file = home.look(home.root(), "file").node;
  home.look(home.root(), "link");
  home.told();
  CHECK(home.ask(wire::Rename{home.root(), "file", home.root(), "moved", 0, me}));
  CHECK_FALSE(has(home.told(), file));
  home.write("moved", "longer text");
  CHECK(has(home.told(), file));
  CHECK(home.ask(wire::Getattr{file, 0}));
  home.told();
  CHECK(home.ask(wire::Unlink{home.root(), "link", me}));
  CHECK_FALSE(has(home.told(), file));
  home.write("moved", "text");
  CHECK(has(home.told(), file));
}

TEST_CASE("an open file tells of itself: under another name, without one, after it was read") {
  TestHome home;
  std::filesystem::create_directory(home.path("unseen"));
  home.write("file", "text");
  home.write("read", "text");
  std::filesystem::create_hard_link(home.path("read"), home.path("unseen/read"));
  settle();
  const auto file = home.look(home.root(), "file").node, read = home.look(home.root(), "read").node;
  const auto handle = home.open(file, O_RDONLY);
  std::filesystem::create_hard_link(home.path("file"), home.path("unseen/other"));
  CHECK(has(home.told(), file));  // its link count
  CHECK(home.ask(wire::Getattr{file, handle}));
  home.write("unseen/other", "TEXT");
  CHECK(has(home.told(), file));
  std::filesystem::remove(home.path("file"));
  home.told();
  CHECK(home.read(handle, 0, 4) == "TEXT");  // what its mappings show now
  home.write("unseen/other", "next");
  CHECK(has(home.told(), file));
  home.write("unseen/other", "last");
  CHECK_FALSE(has(home.told(), file));
  home.write("unseen/read", "TEXT");  // never opened, but of two names
  CHECK(has(home.told(), read));
}

TEST_CASE("when the kernel has lost events, all that was told is looked at") {
  TestHome home;
  for (const auto* name : {"a", "b", "same", "edited"}) home.write(name, "text");
  settle();
  const auto same = home.look(home.root(), "same").node, edited = home.look(home.root(), "edited").node;
  for (int i = 0; i < 20'000; ++i) ::chmod(home.path(i % 2 ? "a" : "b").c_str(), i % 4 ? 0600 : 0644);
  home.write("edited", "TEXT");
  const auto told = home.told();
  CHECK(has(told, edited));
  CHECK_FALSE(has(told, same));
}

TEST_CASE("what cannot be watched is told as brief, and its absent names as not to be remembered") {
  TestHome home({.descriptors = 0, .watches = 6});
  for (int i = 0; i < 6; ++i) std::filesystem::create_directory(home.path("dir" + std::to_string(i)));
  home.write("dir5/file", "");
  std::uint64_t dir = 0;
  for (int i = 0; i < 6; ++i) {
    const auto entry = home.look(home.root(), "dir" + std::to_string(i));
    dir = entry.node;
    CHECK(entry.attr.brief == (i < 3 ? 0 : 1));  // "/", "/tmp" and the home are watched
  }
  CHECK(home.look(dir, "file").attr.brief == 1);
  CHECK(home.error(wire::Lookup{dir, "none", me}) == ENOENT);
  CHECK(home.ask(wire::Getattr{dir, 0})->brief == 1);
  // Some that were told of long ago make room, which the guest is told.
  home.server().stale();
  ::usleep(2'200'000);
  home.look(home.root(), "dir5");
  auto told = home.told();
  for (int i = 0; i < 20 && told.nodes.empty(); ++i) told = home.told();
  CHECK_FALSE(told.nodes.empty());
  CHECK(home.look(home.root(), "dir5").attr.brief == 0);
  CHECK(home.look(dir, "file").attr.brief == 0);
  CHECK(home.ask(wire::Lookup{dir, "none", me})->node == 0);
}

TEST_CASE("when no job runs any more, nothing stays watched, and what comes next is watched again") {
  TestHome home;
  home.write("file", "text");
  settle();
  const auto file = home.look(home.root(), "file").node;
  home.server().idle();
  home.server().stale();  // a job starts, before they are released
  home.look(home.root(), "file");
  home.write("file", "TEXT");
  CHECK(has(home.told(), file));
  home.server().idle();
  Timer enough(home.loop());
  enough.once(3'300, [&] { home.loop().stop(); });
  home.loop().run();
  home.server().stale();
  home.look(home.root(), "file");
  home.write("file", "texT");
  CHECK(has(home.told(), file));
}

TEST_CASE("what happens while no job runs opens no file") {
  TestHome home;
  home.write("file", "text");
  settle();
  home.look(home.root(), "file");
  home.server().idle();
  const auto open = [] {
    std::filesystem::directory_iterator descriptors("/proc/self/fd");
    return std::distance(begin(descriptors), end(descriptors));
  };
  const auto before = open();
  home.write("file", "TEXT");
  Timer enough(home.loop());
  enough.once(50, [&] { home.loop().stop(); });
  home.loop().run();
  CHECK(open() == before);
}

TEST_CASE("what a job's kernel closes late stays open no longer than that") {
  TestHome home;
  home.write("file", "text");
  const auto open = [&] {
    std::filesystem::directory_iterator descriptors("/proc/self/fd");
    std::error_code none;
    return std::count_if(begin(descriptors), end(descriptors), [&](const auto& each) {
      return std::filesystem::read_symlink(each.path(), none) == home.path("file");
    });
  };
  const auto handle = home.open(home.look(home.root(), "file").node, O_RDONLY);
  CHECK(open() == 2);    // the node's and the handle's
  home.server().idle();  // the job ends
  CHECK(open() == 2);
  home.tell(wire::Release{handle});
  CHECK(open() == 0);
}
