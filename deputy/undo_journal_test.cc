// SPDX-License-Identifier: LGPL-2.1-or-later
// A job's changes of a tree that was there before, and what undoing them gives.
#include "deputy/undo_journal.h"

#include <doctest/doctest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "common/file_time.h"
#include "deputy/test_home.h"

using namespace ssi;

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t job = 7;
constexpr std::size_t big = 300'000;
constexpr std::size_t part = 100'000;  // of one message

std::string pattern(std::size_t size, unsigned seed) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251 + seed);
  return bytes;
}

struct World {
  explicit World(TestHome::Options options = {}) : home(std::move(options)) {
    me = TestHome::me();
    me.job = job;
    fs::create_directories(home.path("d/s/t"));
    fs::create_directories(home.path("e"));
    home.write("a", "text of a");
    home.write("b", pattern(big, 1));
    home.write("d/a", pattern(5000, 2));
    home.write("d/s/b", "");
    home.write("d/s/t/c", "deep");
    home.write("e/a", pattern(70'000, 3));
    fs::create_hard_link(home.path("b"), home.path("e/b"));
    fs::create_hard_link(home.path("d/a"), home.path("d/c"));
    fs::create_symlink("a", home.path("l"));
    ::mkfifo(home.path("d/fifo").c_str(), 0640);
    const Fd sparse(::open(home.path("c").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    CHECK(::pwrite(sparse.get(), "data", 4, 100'000) == 4);
    CHECK(::ftruncate(sparse.get(), 1 << 20) == 0);
    ::setxattr(home.path("a").c_str(), "user.one", "1", 1, 0);
    ::setxattr(home.path("d").c_str(), "user.dir", "yes", 3, 0);
    ::chmod(home.path("a").c_str(), 0640);
    ::chmod(home.path("d/s").c_str(), 0750);
    const timespec old[2] = {{978307200, 0}, {978307200, 123456789}};
    for (const auto& entry : fs::recursive_directory_iterator(home.path()))
      ::utimensat(AT_FDCWD, entry.path().c_str(), old, AT_SYMLINK_NOFOLLOW);
    ::utimensat(AT_FDCWD, home.path().c_str(), old, 0);
    before = look();
    home.effects().begin(job, limits, home.server().session());
  }

  // All that undoing is to restore, as text by path.
  std::map<std::string, std::string> look() const {
    std::map<std::string, std::string> tree;
    std::map<ino_t, std::string> first;
    const auto one = [&](const std::string& path) {
      struct stat status;
      REQUIRE(::lstat(path.c_str(), &status) == 0);
      std::ostringstream text;
      text << std::oct << status.st_mode << std::dec << " " << status.st_uid << ":" << status.st_gid << " "
           << to_ns(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
      if (!S_ISDIR(status.st_mode)) {
        text << " links " << status.st_nlink << " of " << first.try_emplace(status.st_ino, path).first->second
             << " size " << status.st_size;
        if (S_ISREG(status.st_mode)) {
          std::ostringstream content;
          content << std::ifstream(path, std::ios::binary).rdbuf();
          text << " hash " << std::hash<std::string>()(content.str());
        }
        if (S_ISLNK(status.st_mode)) text << " to " << fs::read_symlink(path).string();
      }
      char names[1000], value[1000];
      const auto size = ::llistxattr(path.c_str(), names, sizeof names);
      for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names + at)) + 1) {
        const auto got = ::lgetxattr(path.c_str(), names + at, value, sizeof value);
        text << " " << names + at << "="
             << std::string(value, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
      }
      tree[path.substr(home.path().size())] = text.str();
    };
    one(home.path());
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(home.path()))
      paths.push_back(entry.path().string());
    std::ranges::sort(paths);
    for (const auto& path : paths) one(path);
    return tree;
  }

  std::uint64_t node(const std::string& path) {
    auto at = home.root();
    for (const auto& part : fs::path(path))
      if (at != 0) at = home.look(at, part.string()).node;
    return at;
  }
  static std::string name(const std::string& path) { return fs::path(path).filename().string(); }
  std::uint64_t dir(const std::string& path) { return node(fs::path(path).parent_path().string()); }

  std::uint64_t open(const std::string& path, int flags) {  // 0: it could not be
    const auto handle = home.next_handle();
    const auto at = dir(path);
    if (at == 0) return 0;
    const auto there = home.look(at, name(path));
    if (there.node == 0 && flags & O_CREAT)
      return home.ask(wire::Create{at, name(path), 0644, flags, handle, me, 022}) ? handle : 0;
    if (there.node == 0 || !S_ISREG(there.attr.mode)) return 0;
    return home.ask(wire::Open{there.node, handle, flags & ~O_CREAT, me}) ? handle : 0;
  }
  int write(std::uint64_t handle, std::uint64_t at, const std::string& bytes, bool append = false) {
    return home.error(wire::Write{handle, at, append ? std::uint8_t{1} : std::uint8_t{0}}, bytes);
  }
  void put(const std::string& path, const std::string& bytes, int flags = O_CREAT | O_TRUNC | O_WRONLY) {
    const auto handle = open(path, flags);
    REQUIRE(handle != 0);
    for (std::size_t at = 0; at < bytes.size(); at += part)
      CHECK(write(handle, at, bytes.substr(at, part)) == 0);
    home.tell(wire::Release{handle});
  }
  int remove(const std::string& path) { return home.error(wire::Unlink{dir(path), name(path), me}); }
  int rmdir(const std::string& path) { return home.error(wire::Rmdir{dir(path), name(path), me}); }
  int mkdir(const std::string& path) { return home.error(wire::Mkdir{dir(path), name(path), 0755, me}); }
  int rename(const std::string& from, const std::string& to, std::uint32_t flags = 0) {
    return home.error(wire::Rename{dir(from), name(from), dir(to), name(to), flags, me});
  }
  int link(const std::string& from, const std::string& to) {
    return home.error(wire::Link{node(from), dir(to), name(to), me});
  }
  int truncate(const std::string& path, std::uint64_t size) {
    auto set = TestHome::setting(node(path), wire::Setattr::set_size, me);
    set.size = size;
    return home.error(set);
  }
  int chmod(const std::string& path, std::uint32_t mode) {
    auto set = TestHome::setting(node(path), wire::Setattr::set_mode, me);
    set.mode = mode;
    return home.error(set);
  }
  int chown(const std::string& path, std::uint32_t uid, std::uint32_t gid) {
    auto set = TestHome::setting(node(path), wire::Setattr::set_uid | wire::Setattr::set_gid, me);
    set.uid = uid;
    set.gid = gid;
    return home.error(set);
  }
  int retime(const std::string& path, std::int64_t mtime) {
    auto set = TestHome::setting(node(path), wire::Setattr::set_mtime, me);
    set.mtime = mtime;
    return home.error(set);
  }

  std::string undo() {  // "": done
    std::optional<Status> status;
    home.effects().undo(job, [&](Status how) {
      status = std::move(how);
      home.loop().stop();
    });
    while (!status) home.loop().run();
    return *status ? "" : status->error().text();
  }
  void check_undone() {
    CHECK(home.effects().standing(job).not_rerunnable == "");
    CHECK(undo() == "");
    check_as_before();
  }
  void check_as_before() {
    const auto now = look();
    for (const auto& entry : before) {
      const auto &path = entry.first, &text = entry.second;
      CAPTURE(path);
      const auto found = now.find(path);
      CHECK((found == now.end() ? "gone" : found->second) == text);
    }
    for (const auto& entry : now) {
      const auto& path = entry.first;
      CAPTURE(path);
      CHECK(before.contains(path));
    }
  }

  TestHome home;
  UndoLimits limits{};
  wire::Caller me;
  std::map<std::string, std::string> before;
};

}  // namespace

TEST_CASE("each kind of change is undone") {
  World world;
  SUBCASE("nothing") {}
  SUBCASE("made") {
    world.put("new", pattern(200'000, 9));
    CHECK(world.mkdir("n") == 0);
    CHECK(world.mkdir("n/m") == 0);
    world.put("n/m/x", "text");
    CHECK(world.home.ask(wire::Symlink{world.node("n"), "l", "x", world.me}));
    CHECK(world.home.ask(wire::Mknod{world.node("d"), "pipe", S_IFIFO | 0600, 0, world.me}));
    CHECK(world.link("new", "d/new") == 0);
  }
  SUBCASE("made and removed again") {
    world.put("new", "text");
    CHECK(world.remove("new") == 0);
    CHECK(world.mkdir("n") == 0);
    CHECK(world.rmdir("n") == 0);
  }
  SUBCASE("removed") {
    for (const auto* name : {"a", "l", "d/fifo", "b", "e/b", "d/s/t/c"}) CHECK(world.remove(name) == 0);
    CHECK(world.rmdir("d/s/t") == 0);
  }
  SUBCASE("removed, and others in its place") {
    CHECK(world.remove("a") == 0);
    CHECK(world.mkdir("a") == 0);
    CHECK(world.rename("b", "a/b") == 0);
    CHECK(world.remove("d/s/t/c") == 0);
    CHECK(world.rmdir("d/s/t") == 0);
    world.put("d/s/t", "a file");
  }
  SUBCASE("replaced by a new file, as most programs save") {
    world.put("a.tmp", "new text");
    CHECK(world.rename("a.tmp", "a") == 0);
    world.put("b.tmp", "new text");
    CHECK(world.rename("b.tmp", "b") == 0);
  }
  SUBCASE("moved") {
    CHECK(world.rename("a", "d/s/t/a") == 0);
    CHECK(world.rename("d/s", "s") == 0);
    CHECK(world.rename("s/t", "t") == 0);
    CHECK(world.rename("s", "t/s") == 0);
    CHECK(world.rename("t/c", "a") == 0);
  }
  SUBCASE("a directory into what was in it") {
    CHECK(world.rename("d/s", "s") == 0);
    CHECK(world.rename("d", "s/d") == 0);
    CHECK(world.rename("s", "d") == 0);
  }
  SUBCASE("exchanged") {
    CHECK(world.rename("a", "b", RENAME_EXCHANGE) == 0);
    CHECK(world.rename("d/s", "e", RENAME_EXCHANGE) == 0);
    CHECK(world.rename("a", "e/t", RENAME_EXCHANGE) == 0);
  }
  SUBCASE("into what it made, which is then removed") {
    CHECK(world.mkdir("n") == 0);
    CHECK(world.rename("a", "n/a") == 0);
    CHECK(world.remove("n/a") == 0);
    CHECK(world.rmdir("n") == 0);
  }
  SUBCASE("hard links") {
    CHECK(world.link("a", "d/a2") == 0);
    CHECK(world.remove("a") == 0);
    CHECK(world.remove("d/c") == 0);
    CHECK(world.link("d/a", "e/c") == 0);
    CHECK(world.remove("d/a") == 0);
  }
  SUBCASE("overwritten, in parts and over the end") {
    const auto handle = world.open("b", O_RDWR);
    for (const auto at : {0UL, 100UL, 4096UL, 150'000UL, big - 10, big + 70'000})
      CHECK(world.write(handle, at, pattern(1000, 5)) == 0);
  }
  SUBCASE("appended") {
    const auto handle = world.open("a", O_WRONLY | O_APPEND);
    CHECK(world.write(handle, 0, "more", true) == 0);
  }
  SUBCASE("truncated") {
    CHECK(world.truncate("b", 1000) == 0);
    CHECK(world.truncate("b", 200'000) == 0);
    world.put("e/a", "short");
    world.put("c", "not sparse any more");
  }
  SUBCASE("truncated, and then removed while it is open") {
    const auto handle = world.open("b", O_RDWR | O_TRUNC);
    CHECK(world.write(handle, 5, "text") == 0);
    CHECK(world.remove("b") == 0);
    CHECK(world.remove("e/b") == 0);
    CHECK(world.write(handle, 5000, "text") == 0);
  }
  SUBCASE("space") {
    const auto handle = world.open("b", O_RDWR);
    CHECK(world.home.error(
              wire::Fallocate{handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 100'000}) == 0);
    CHECK(world.home.error(wire::Fallocate{handle, 0, big, 100'000}) == 0);
    const auto holes = world.open("c", O_RDWR);
    CHECK(world.write(holes, 0, pattern(100'000, 6)) == 0);
    const auto from = world.open("e/a", O_RDONLY);
    CHECK(world.home.error(wire::CopyRange{from, 0, handle, 200'000, 70'000}) == 0);
  }
  SUBCASE("attributes") {
    CHECK(world.chmod("a", 0600) == 0);
    CHECK(world.chmod("d/s", 0700) == 0);
    CHECK(world.retime("d/s/b", 5) == 0);
    CHECK(world.retime("e", 5) == 0);
    CHECK(world.retime("l", 5) == 0);
  }
  SUBCASE("owner and group") {
    if (::geteuid() != 0) return;
    CHECK(world.chown("a", 12, 34) == 0);
    CHECK(world.chown("d/s", 12, 34) == 0);
    CHECK(world.chown("l", 12, 34) == 0);
  }
  SUBCASE("extended attributes") {
    CHECK(world.home.error(wire::Setxattr{world.node("a"), "user.one", 0, world.me}, "2") == 0);
    CHECK(world.home.error(wire::Setxattr{world.node("a"), "user.two", 0, world.me}, "2") == 0);
    CHECK(world.home.error(wire::Removexattr{world.node("d"), "user.dir", world.me}) == 0);
  }
  SUBCASE("a file that had no name for a while") {
    const auto handle = world.home.next_handle();
    CHECK(world.home.ask(wire::Create{world.node("d"), "", 0644, O_RDWR | O_TMPFILE, handle, world.me, 022}));
    CHECK(world.write(handle, 0, "text") == 0);
  }
  world.check_undone();
}

TEST_CASE("a file that the job has replaced is never missing while that is undone") {
  World world;
  world.put("new", "text");
  CHECK(world.rename("new", "a") == 0);
  const Fd seen(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  REQUIRE(::inotify_add_watch(seen.get(), world.home.path().c_str(), IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) >= 0);
  world.check_undone();
  alignas(inotify_event) char events[4096];
  const auto size = ::read(seen.get(), events, sizeof events);
  bool came = false;
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(events + at);
    if (std::string_view(event->name) == "a") {
      CHECK(event->mask == IN_MOVED_TO);
      came = true;
    }
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  CHECK(came);
}

TEST_CASE("what somebody else has changed since is left as it is, and all the rest") {
  World world;
  const auto later = [&](const std::string& name, const std::string& content) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    world.home.write(name, content);
  };
  world.put("new", "text");
  world.put("a", "other text");
  CHECK(world.remove("d/a") == 0);
  std::string name;
  SUBCASE("a file that it made") {
    name = "new";
    later(name, "mine");
  }
  SUBCASE("a file that it changed") {
    name = "a";
    later(name, "mine");
  }
  SUBCASE("another at a name that it removed") {
    name = "d/a";
    later(name, "mine");
  }
  SUBCASE("another at a second name that it gave to a file") {
    name = "e/second";
    CHECK(world.link("d/c", name) == 0);
    later("other", "mine");
    fs::rename(world.home.path("other"), world.home.path(name));
  }
  SUBCASE("a name that is gone") {
    name = "new";
    fs::remove(world.home.path(name));
  }
  SUBCASE("a file in a directory that it made") {
    CHECK(world.mkdir("n") == 0);
    name = "n/x";
    later(name, "mine");
  }
  SUBCASE("a directory that was moved") {
    name = "d";
    fs::rename(world.home.path("d"), world.home.path("f"));
  }
  const auto left = world.look();
  const auto why = world.undo();
  CAPTURE(why);
  CHECK(why.find("/" + name) != why.npos);
  CHECK(world.look() == left);
}

TEST_CASE("somebody else's change between two of the job's") {
  World world;
  const auto handle = world.open("b", O_RDWR);
  CHECK(world.write(handle, 0, "text") == 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  world.home.write("b", "mine");
  SUBCASE("of its content") {
    CHECK(world.write(handle, 0, "text") == 0);
  }
  SUBCASE("of its name") {
    CHECK(world.rename("b", "moved") == 0);
  }
  SUBCASE("of its last name") {
    CHECK(world.remove("e/b") == 0);
    CHECK(world.remove("b") == 0);
  }
  CHECK(world.undo().find("somebody else") != std::string::npos);
}

TEST_CASE("other names in the job's directories are nobody's concern") {
  World world;
  world.put("d/new", "text");
  world.home.write("d/mine", "mine");
  CHECK(world.undo() == "");
  CHECK(world.home.content("d/mine") == "mine");
  CHECK_FALSE(fs::exists(world.home.path("d/new")));
  CHECK(world.look().at("/d") != world.before.at("/d"));  // its time says that somebody was there
}

TEST_CASE("beyond its limits a journal is given up, and the job goes on") {
  World world;
  auto& effects = world.home.effects();
  SUBCASE("bytes") {
    effects.begin(job, {.bytes = 100'000}, world.home.server().session());
    world.put("b", "text");
    CHECK(effects.standing(job).not_rerunnable == "it changed more than can be undone (0 MiB)");
  }
  SUBCASE("entries") {
    effects.begin(job, {.entries = 10}, world.home.server().session());
    for (int i = 0; i < 12; ++i) world.put("new" + std::to_string(i), "text");
    CHECK(effects.standing(job).not_rerunnable == "it changed more than can be undone (10 files and names)");
  }
  const auto left = world.look();
  CHECK(world.undo() != "");
  CHECK(world.look() == left);
}

TEST_CASE("a journal that is given up keeps nothing more, while its job goes on") {
  World world;
  const auto kept = world.home.path() + "-undo";
  fs::create_directories(kept);
  auto& effects = world.home.effects();
  effects.begin(job, {.entries = 8}, world.home.server().session());
  CHECK(world.remove("l") == 0);
  CHECK_FALSE(fs::is_empty(kept));
  for (int i = 0; i < 10; ++i) world.put("new" + std::to_string(i), "text");
  for (int i = 0; i < 300 && !fs::is_empty(kept); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(world.mkdir("n" + std::to_string(i)) == 0);
  }
  CHECK(fs::is_empty(kept));
}

// A write that a thread is at must not come behind what has been restored.
TEST_CASE("an undo waits for the changes that are under way") {
  for (int round = 0; round < 20; ++round) {
    World world;
    const auto handle = world.open("b", O_RDWR);
    const auto bytes = pattern(part, 8);
    std::optional<Status> undone;
    for (int i = 0; i < 30; ++i)
      world.home.guest().call(wire::Write{handle, 0}, bytes, [](const auto&, std::string_view) {});
    world.home.guest().call(wire::Statfs{world.home.root()}, {}, [&](const auto&, std::string_view) {
      world.home.effects().undo(job, [&](Status how) {
        undone = std::move(how);
        world.home.loop().stop();
      });
    });
    while (!undone) world.home.loop().run();
    CHECK_MESSAGE(*undone, (*undone ? "" : undone->error().text()));
    CHECK(world.home.error(wire::Statfs{world.home.root()}) == 0);
    const bool is_as_before = world.home.content("b") == pattern(big, 1);
    CHECK(is_as_before);
  }
}

TEST_CASE("what is kept is not to be seen") {
  World world({.tmpfs = can_mount() ? "size=16m" : ""});
  const auto handle = world.open("a", O_RDWR);
  const auto node = world.node("a");
  CHECK(world.remove("a") == 0);
  const auto attr = world.home.ask(wire::Getattr{node, handle});
  REQUIRE(attr);
  CHECK(attr->nlink == 0);
  CHECK(world.home.error(wire::Link{node, world.home.root(), "a2", world.me}) == ENOENT);
  CHECK(world.remove("l") == 0);  // of this one a name is kept
  CHECK(world.remove("b") == 0);
  CHECK(world.home.look(world.node("e"), "b").attr.nlink == 1);
  CHECK(fs::hard_link_count(world.home.path("e/b")) == 1);  // nor at home, as long as it has a name
  const auto listing = world.home.open(world.home.root(), O_RDONLY | O_DIRECTORY);
  const auto page = world.home.ask(wire::Readdir{listing, 0, 1});
  REQUIRE(page);
  for (const auto& entry : page->entries) CHECK_FALSE(entry.name.starts_with(UndoKeep::prefix));
  SUBCASE("undone") {
    world.check_undone();
  }
  SUBCASE("settled") {
    bool done = false;
    world.home.effects().settle(job, [&] {
      done = true;
      world.home.loop().stop();
    });
    while (!done) world.home.loop().run();
    for (const auto& [path, text] : world.look()) CHECK(path.find(UndoKeep::prefix) == path.npos);
  }
}

TEST_CASE("who has a file open at home finds it without a name when a job has removed it") {
  World world;
  const auto links = [](const Fd& file) {
    struct stat status;
    return ::fstat(file.get(), &status) == 0 ? static_cast<int>(status.st_nlink) : -1;
  };
  const Fd a(::open(world.home.path("a").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd b(::open(world.home.path("e/a").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(world.remove("a") == 0);
  CHECK(links(a) == 0);
  world.put("new", "text");
  CHECK(world.rename("new", "e/a") == 0);
  CHECK(links(b) == 0);
  world.check_undone();
}

TEST_CASE("what is undone has not the access list of where it was copied") {
  World world;
  struct [[gnu::packed]] Entry {
    std::uint16_t tag, rights;
    std::uint32_t id;
  };
  struct {
    std::uint32_t version = 2;
    Entry entries[5] = {{1, 7, 0}, {2, 4, 1}, {4, 4, 0}, {0x10, 7, 0}, {0x20, 0, 0}};  // acl(5)
  } acl;
  const auto state = world.home.path() + "-undo";
  REQUIRE(::setxattr(state.c_str(), "system.posix_acl_default", &acl, sizeof acl, 0) == 0);
  CHECK(world.remove("a") == 0);
  world.check_undone();
}

TEST_CASE("of what is too much to be copied a name is kept") {
  World world;
  world.home.effects().begin(job, {.bytes = 80'000}, world.home.server().session());
  CHECK(world.remove("e/a") == 0);  // 70 000
  const Fd sparse(::open(world.home.path("c").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(world.remove("c") == 0);  // 1 MiB
  struct stat status;
  CHECK(::fstat(sparse.get(), &status) == 0);
  CHECK(status.st_nlink == 1);
  world.check_undone();
}

TEST_CASE("what is kept makes room when the disk is full") {
  if (!can_mount()) return;
  World world({.tmpfs = "size=2m"});
  world.home.write("big", pattern(1 << 20, 4));
  CHECK(world.remove("big") == 0);
  const auto handle = world.open("new", O_CREAT | O_RDWR);
  for (std::uint64_t at = 0; at < 1 << 20; at += 100'000)
    CHECK(world.write(handle, at, pattern(100'000, 5)) == 0);
  CHECK(world.home.effects().standing(job).not_rerunnable != "");
}

TEST_CASE("what is kept makes room when there are no inodes left") {
  if (!can_mount()) return;
  World world({.tmpfs = "size=4m,nr_inodes=60"});
  CHECK(world.remove("a") == 0);
  std::error_code full;
  for (int i = 0; !full; ++i) fs::create_directory(world.home.path("fill" + std::to_string(i)), full);
  CHECK(world.mkdir("new") == 0);
  CHECK(world.home.effects().standing(job).not_rerunnable != "");
}

// Random sequences. On failure the seed is shown, and SSI_UNDO_SEED runs it alone.
TEST_CASE("whatever a job does is undone") {
  const auto* only = ::getenv("SSI_UNDO_SEED");
  const unsigned first = only ? static_cast<unsigned>(std::atoi(only)) : 1;
  const auto* count = ::getenv("SSI_UNDO_RUNS");
  const unsigned last = only ? first : first + (count ? static_cast<unsigned>(std::atoi(count)) : 60);
  for (unsigned seed = first; seed <= last; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto up_to = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    World world({.tmpfs = seed % 2 && can_mount() ? "size=64m" : ""});
    const auto path = [&] {
      static const std::vector<std::string> dirs{"", "", "d/", "d/s/", "e/", "d/s/t/", "f/", "e/f/"};
      static const std::vector<std::string> names{"a", "b", "c", "d", "e", "f", "s", "t", "l"};
      return dirs[up_to(8)] + names[up_to(9)];
    };
    std::vector<std::uint64_t> handles;
    const auto steps = 5 + up_to(60);
    for (unsigned step = 0; step < steps; ++step) {
      const auto one = path(), other = path();
      const auto handle = handles.empty() ? 0 : handles[up_to(static_cast<unsigned>(handles.size()))];
      const std::uint64_t at = up_to(4) * 100'000 + up_to(5000), size = up_to(100'000);
      switch (up_to(20)) {
        case 0:
        case 1:
        case 2:
          if (const auto opened = world.open(
                  one, std::array{O_CREAT, O_TRUNC, O_CREAT | O_TRUNC, O_APPEND}[up_to(4)] | O_RDWR))
            handles.push_back(opened);
          break;
        case 3:
        case 4:
        case 5:
          world.write(handle, at, pattern(size, step), up_to(4) == 0);
          break;
        case 6:
        case 7:
          world.remove(one);
          break;
        case 8:
          world.rmdir(one);
          break;
        case 9:
          world.mkdir(one);
          break;
        case 10:
        case 11:
        case 12:
          world.rename(
              one, other,
              std::array{0U, 0U, 0U, unsigned{RENAME_EXCHANGE}, unsigned{RENAME_NOREPLACE}}[up_to(5)]);
          break;
        case 13:
          world.link(one, other);
          break;
        case 14:
          world.truncate(one, up_to(2) ? at : 0);
          break;
        case 15:
          world.chmod(one, std::array{0600U, 0644U, 0755U, 0700U}[up_to(4)]);
          break;
        case 16:
          world.retime(one, 1'000'000'000LL * up_to(1000));
          break;
        case 17:
          world.home.error(wire::Setxattr{world.node(one), up_to(2) ? "user.one" : "user.dir", 0, world.me},
                           "x");
          break;
        case 18:
          if (up_to(2))
            world.home.error(wire::Removexattr{world.node(one), "user.one", world.me});
          else
            world.home.error(
                wire::Fallocate{handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size + 1});
          break;
        default:
          if (handle) world.home.tell(wire::Release{handle});
          std::erase(handles, handle);
      }
    }
    world.check_undone();
  }
}
