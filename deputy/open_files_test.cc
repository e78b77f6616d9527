// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <vector>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();

}  // namespace

TEST_CASE("files are created and opened") {
  TestHome home;
  const auto handle = home.next_handle();
  const auto made = home.ask(wire::Create{home.root(), "new", 0640, O_RDWR | O_CREAT | O_EXCL, handle, me});
  REQUIRE(made);
  CHECK((made->attr.mode & 07777) == 0640);
  CHECK(home.ask(wire::Write{handle, 0}, "hello")->size == 5);
  CHECK(home.read(handle, 1, 100) == "ello");
  CHECK(home.content("new") == "hello");
  CHECK(home.error(wire::Flush{handle}) == 0);
  CHECK(home.error(wire::Fsync{handle, 0}) == 0);
  CHECK(home.error(wire::Fsync{handle, 1}) == 0);
  home.tell(wire::Release{handle});
  CHECK(home.error(wire::Read{handle, 0, 1}) == EBADF);
  CHECK(home.error(wire::Flush{handle}) == EBADF);

  const auto again = home.next_handle();
  CHECK(home.error(wire::Create{home.root(), "new", 0640, O_RDWR | O_CREAT | O_EXCL, again, me}) == EEXIST);
  CHECK(home.ask(wire::Create{home.root(), "new", 0600, O_RDWR | O_CREAT, again, me})->node == made->node);
  CHECK(home.error(wire::Open{made->node, again, O_RDONLY, me}) == EINVAL);  // the handle is taken
  CHECK(home.error(wire::Open{made->node, 0, O_RDONLY, me}) == EINVAL);
  CHECK(home.read(again, 0, 10) == "hello");

  const auto read_only = home.open(made->node, O_RDONLY);
  CHECK(home.error(wire::Write{read_only, 0}, "x") == EBADF);
  CHECK(home.open(made->node, O_WRONLY | O_TRUNC) != 0);
  CHECK(home.read(read_only, 0, 10).empty());
}

TEST_CASE("a file without a name, and the name that it gets") {
  TestHome home({.rules = {.hidden = {}, .read_only = {"HOME/kept"}}, .descriptors = 1});
  const auto dir = home.ask(wire::Mkdir{home.root(), "dir", 0700, me});
  const auto handle = home.next_handle();
  const auto made = home.ask(wire::Create{dir->node, "", 0640, O_RDWR | O_TMPFILE, handle, me});
  REQUIRE(made);
  CHECK((made->attr.mode & 07777) == 0640);
  CHECK(made->attr.nlink == 0);
  CHECK(std::filesystem::is_empty(home.path("dir")));
  home.look(home.root(),
            "dir");  // takes the one descriptor that may be kept; a nameless node's is not closed for it
  home.server().idle();
  CHECK(home.ask(wire::Write{handle, 0}, "hello")->size == 5);
  CHECK(home.error(wire::Link{made->node, home.root(), "kept", me}) == EROFS);
  CHECK(home.ask(wire::Link{made->node, dir->node, "named", me})->node == made->node);
  CHECK(home.content("dir/named") == "hello");
  home.tell(wire::Release{handle});
  home.server().idle();
  CHECK(home.ask(wire::Getattr{made->node, 0})->nlink == 1);

  std::filesystem::create_directory(home.path("kept"));
  home.policy().refresh();
  const auto kept = home.look(home.root(), "kept");
  const auto other = home.next_handle();
  CHECK(home.error(wire::Create{kept.node, "", 0600, O_RDWR | O_TMPFILE, other, me}) == EROFS);
  CHECK(home.error(wire::Create{made->node, "", 0600, O_RDWR | O_TMPFILE, other, me}) == ENOTDIR);
  CHECK(home.error(wire::Create{dir->node, "", 0600, O_RDONLY | O_TMPFILE, other, me}) == EINVAL);
  CHECK(home.error(wire::Create{dir->node, "", 0600, O_RDWR | O_TMPFILE, handle + 100, me}) == 0);
}

TEST_CASE("a directory that is gone is looked up again before a file without a name is refused there") {
  TestHome home;
  const auto make_in = [&](std::uint64_t dir) {
    return home.error(wire::Create{dir, "", 0600, O_RDWR | O_TMPFILE, home.next_handle(), me});
  };
  std::filesystem::create_directory(home.path("dir"));
  const auto gone = home.look(home.root(), "dir").node;
  const Fd same(::open(home.path("dir").c_str(), O_PATH | O_CLOEXEC));
  std::filesystem::remove(home.path("dir"));
  const Fd made(::openat(same.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  const int at_home = made ? 0 : errno;  // EPERM on ext4; a tmpfs makes it
  CHECK(make_in(gone) == (at_home ? ESTALE : 0));
  CHECK(make_in(gone) == at_home);  // who stands there gets home's answer
  std::filesystem::create_directory(home.path("dir"));
  const auto found = home.look(home.root(), "dir").node;
  CHECK(make_in(found) == 0);
  std::filesystem::remove(home.path("dir"));
  CHECK(make_in(found) == at_home);  // the guest's kernel looks again only once
  CHECK(make_in(gone) == at_home);   // and others' looking does not count
}

TEST_CASE("what is not a file or directory is not opened") {
  TestHome home;
  const auto fifo = home.ask(wire::Mknod{home.root(), "fifo", S_IFIFO | 0600, 0, me});
  REQUIRE(fifo);
  CHECK(home.error(wire::Open{fifo->node, home.next_handle(), O_RDONLY, me}) == ENXIO);
  CHECK(home.error(wire::Create{home.root(), "fifo", 0600, O_RDONLY, home.next_handle(), me}) == ENXIO);
  CHECK(home.error(wire::Create{home.root(), "fifo", 0600, O_WRONLY, home.next_handle(), me}) == ENXIO);
  home.ask(wire::Symlink{home.root(), "link", "/etc/passwd", me});
  const auto link = home.look(home.root(), "link").node;
  CHECK(home.error(wire::Open{link, home.next_handle(), O_RDONLY, me}) == ELOOP);
  CHECK(home.error(wire::Create{home.root(), "link", 0600, O_RDWR, home.next_handle(), me}) == ELOOP);
  const auto dir = home.ask(wire::Mkdir{home.root(), "dir", 0700, me});
  CHECK(home.error(wire::Open{dir->node, home.next_handle(), O_RDWR, me}) == EISDIR);
  const auto handle = home.open(dir->node, O_RDONLY | O_DIRECTORY);
  CHECK(home.error(wire::Read{handle, 0, 1}) == EISDIR);
  CHECK(home.error(wire::Fsync{handle, 0}) == 0);
}

TEST_CASE("an unlinked file lives while it is open, also when home unlinked it") {
  TestHome home({.descriptors = 1});
  home.write("a", "aaa");
  home.write("b", "bbb");
  const auto a = home.look(home.root(), "a"), b = home.look(home.root(), "b");
  const auto ha = home.open(a.node, O_RDWR), hb = home.open(b.node, O_RDONLY);
  CHECK(home.error(wire::Unlink{home.root(), "a", me}) == 0);
  std::filesystem::remove(home.path("b"));
  home.server().idle();
  CHECK(home.read(ha, 0, 10) == "aaa");
  CHECK(home.read(hb, 0, 10) == "bbb");
  CHECK(home.ask(wire::Write{ha, 3}, "!")->size == 1);
  CHECK(home.ask(wire::Getattr{a.node, 0})->size == 4);
  CHECK(home.ask(wire::Getattr{b.node, 0})->nlink == 0);
  home.tell(wire::Release{ha});
  home.tell(wire::Forget{{{a.node, 1}}});
  CHECK(home.error(wire::Getattr{a.node, 0}) == ESTALE);
}

TEST_CASE(
    "a name that leads to a removed file must be looked up again, but what is open may be opened again") {
  TestHome home;
  home.write("f", "old");
  const auto old = home.look(home.root(), "f");
  std::filesystem::remove(home.path("f"));
  CHECK(home.error(wire::Open{old.node, home.next_handle(), O_RDWR, me}) == ESTALE);
  home.write("f", "newer");
  const auto newer = home.look(home.root(), "f");  // as the kernel does then, but it does so only once
  std::filesystem::remove(home.path("f"));
  CHECK(home.error(wire::Open{old.node, home.next_handle(), O_RDWR, me}) == ESTALE);
  home.write("f", "newest");
  const auto newest = home.look(home.root(), "f");
  std::filesystem::remove(home.path("f"));
  CHECK(home.read(home.open(newest.node, O_RDONLY), 0, 10) == "newest");
  CHECK(home.error(wire::Open{newer.node, home.next_handle(), O_RDWR, me}) == ESTALE);
  home.write("g", "open");
  const auto open = home.look(home.root(), "g");
  REQUIRE(home.open(open.node, O_RDONLY) != 0);
  std::filesystem::remove(home.path("g"));
  CHECK(home.read(home.open(open.node, O_RDONLY), 0, 10) == "open");
}

TEST_CASE("10 000 entries, page by page") {
  TestHome home;
  std::filesystem::create_directory(home.path("dir"));
  std::set<std::string> names;
  for (int i = 0; i < 10'000; ++i) {
    const auto name = "entry with a rather long name \xff " + std::to_string(i);
    home.write("dir/" + name, "");
    names.insert(name);
  }
  const auto dir = home.look(home.root(), "dir").node;
  for (std::uint8_t plus = 0; plus < 2; ++plus) {
    const auto handle = home.open(dir, O_RDONLY | O_DIRECTORY);
    auto left = names;
    std::int64_t offset = 0;
    int pages = 0;
    std::map<std::uint64_t, std::uint64_t> given;
    for (;; ++pages) {
      const auto page = home.ask(wire::Readdir{handle, offset, plus});
      REQUIRE(page);
      if (page->entries.empty()) break;
      REQUIRE(page->entries.size() <= wire::max_page);
      for (const auto& entry : page->entries) {
        offset = entry.next;
        if (entry.name == "." || entry.name == "..") {
          CHECK(entry.entry.node == 0);
          continue;
        }
        REQUIRE(left.erase(entry.name) == 1);
        REQUIRE(entry.type == S_IFREG);
        REQUIRE((entry.entry.node != 0) == (plus == 1));
        if (plus) REQUIRE(entry.entry.attr.ino == entry.ino);
        if (plus) ++given[entry.entry.node];
      }
    }
    CHECK(left.empty());
    CHECK(pages >= 20);
    // From the middle, and from the start again.
    const auto first = home.ask(wire::Readdir{handle, 0, 0});
    const auto second = home.ask(wire::Readdir{handle, first->entries[9].next, 0});
    CHECK(second->entries[0].name == first->entries[10].name);
    if (plus) {
      CHECK(given.size() == 10'000);
      const auto some = given.begin()->first;
      CHECK(home.ask(wire::Getattr{some, 0}));
      home.tell(wire::Forget{{{some, 1}}});
      CHECK(home.error(wire::Getattr{some, 0}) == ESTALE);
    }
  }
}

TEST_CASE("what the guest has opened and closed by itself is looked at before its next job") {
  TestHome home;
  // Nobody is told of what is written through a mapping.
  struct Mapped {
    Mapped(TestHome& home, const std::string& name) {
      home.write(name, "text");
      const Fd fd(::open(home.path(name).c_str(), O_RDWR | O_CLOEXEC));
      bytes = static_cast<char*>(::mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
      REQUIRE(bytes != MAP_FAILED);
    }
    ~Mapped() { ::munmap(bytes, 4); }
    char* bytes;
  };
  Mapped visited(home, "visited"), other(home, "other");
  ::usleep(50'000);  // their times have settled
  const auto node = home.look(home.root(), "visited").node, another = home.look(home.root(), "other").node;
  home.server().stale();
  for (const std::uint64_t number : {node, home.root(), std::uint64_t{12345}}) home.tell(wire::Visited{{number}});
  home.told();  // it has come
  for (const auto* file : {&visited, &other}) file->bytes[0] = 'n';
  const auto stale = home.server().stale().nodes;
  CHECK(std::ranges::count(stale, node) == 1);
  CHECK(std::ranges::count(stale, another) == 0);
}

TEST_CASE("what the guest has opened by itself is opened at its first use, and lives on without a name until then") {
  TestHome home;
  home.write("file", "text");
  std::filesystem::create_directory(home.path("dir"));
  home.write("dir/inside", "");
  const auto file = home.look(home.root(), "file").node, dir = home.look(home.root(), "dir").node;
  home.tell(wire::Opened{file, 100, O_RDONLY, me});
  home.tell(wire::Opened{dir, 101, O_RDONLY | O_DIRECTORY, me});
  home.tell(wire::Opened{12345, 102, O_RDONLY, me});
  std::filesystem::remove(home.path("file"));
  home.told();
  CHECK(home.read(100, 0, 4) == "text");
  CHECK(home.read(100, 2, 4) == "xt");
  const auto page = home.ask(wire::Readdir{101, 0, 0});
  REQUIRE(page);
  CHECK(page->entries.size() == 3);
  CHECK(page->end == 1);
  CHECK(home.error(wire::Read{102, 0, 4}) == ESTALE);
  CHECK(home.error(wire::Flock{100, LOCK_SH, 0}) == 0);
  for (const std::uint64_t handle : {100ULL, 101ULL, 102ULL}) home.tell(wire::Release{handle});
  CHECK(home.error(wire::Read{100, 0, 4}) == EBADF);
}
