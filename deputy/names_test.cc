// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <climits>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::Caller me = TestHome::me();

}  // namespace

TEST_CASE("names are made, looked up, moved and removed") {
  TestHome home;
  const auto dir = home.ask(wire::Mkdir{home.root(), "dir", 0750, me});
  REQUIRE(dir);
  CHECK((dir->attr.mode & 07777) == 0750);
  CHECK(S_ISDIR(dir->attr.mode));
  CHECK(home.error(wire::Mkdir{home.root(), "dir", 0750, me}) == EEXIST);

  const auto file = home.ask(wire::Mknod{dir->node, "file", S_IFREG | 0604, 0, me});
  REQUIRE(file);
  CHECK((file->attr.mode & 07777) == 0604);
  CHECK(home.look(dir->node, "file").node == file->node);
  CHECK(home.look(dir->node, "none").node == 0);
  CHECK(home.error(wire::Lookup{file->node, "none", me}) == ENOTDIR);
  CHECK(home.error(wire::Lookup{4711, "none", me}) == ESTALE);
  CHECK(home.ask(wire::Mknod{dir->node, "fifo", S_IFIFO | 0600, 0, me}));

  const auto link = home.ask(wire::Symlink{dir->node, "link", "../some where", me});
  REQUIRE(link);
  CHECK(S_ISLNK(link->attr.mode));
  CHECK(home.ask(wire::Readlink{link->node}));
  CHECK(home.body() == "../some where");
  CHECK(home.error(wire::Readlink{file->node}) == EINVAL);

  CHECK(home.error(wire::Rename{dir->node, "file", home.root(), "moved", 0, me}) == 0);
  CHECK(std::filesystem::exists(home.path("moved")));
  CHECK(home.look(home.root(), "moved").node == file->node);
  CHECK(home.error(wire::Rename{home.root(), "moved", dir->node, "link", RENAME_NOREPLACE, me}) == EEXIST);
  CHECK(home.error(wire::Rename{home.root(), "moved", dir->node, "link", RENAME_EXCHANGE, me}) == 0);
  CHECK(home.look(dir->node, "link").node == file->node);
  CHECK(home.look(home.root(), "moved").node == link->node);

  CHECK(home.error(wire::Rmdir{home.root(), "dir", me}) == ENOTEMPTY);
  CHECK(home.error(wire::Unlink{home.root(), "dir", me}) == EISDIR);
  CHECK(home.error(wire::Unlink{dir->node, "link", me}) == 0);
  CHECK(home.error(wire::Unlink{dir->node, "fifo", me}) == 0);
  CHECK(home.error(wire::Unlink{dir->node, "fifo", me}) == ENOENT);
  CHECK(home.error(wire::Rmdir{home.root(), "dir", me}) == 0);
  CHECK_FALSE(std::filesystem::exists(home.path("dir")));
}

TEST_CASE("a directory is removed or replaced only where the guest has met it") {
  TestHome home;
  const auto swap_at_home = [&](const std::string& name, const std::string& away) {
    std::filesystem::rename(home.path(name), home.path(away));
    std::filesystem::create_directory(home.path(name));
  };
  const auto made = home.ask(wire::Mkdir{home.root(), "a", 0700, me});
  REQUIRE(made);
  swap_at_home("a", "b");
  CHECK(home.error(wire::Rmdir{home.root(), "a", me}) == ESTALE);
  CHECK(std::filesystem::exists(home.path("a")));
  CHECK(home.look(home.root(), "a").node != made->node);
  CHECK(home.error(wire::Rmdir{home.root(), "a", me}) == 0);

  std::filesystem::rename(home.path("b"), home.path("a"));  // one that is known, by another name
  CHECK(home.look(home.root(), "a").node == made->node);
  swap_at_home("a", "b");
  CHECK(home.look(home.root(), "b").node == made->node);
  const auto other = home.look(home.root(), "a").node;
  std::filesystem::rename(home.path("a"), home.path("c"));
  std::filesystem::rename(home.path("b"), home.path("a"));
  REQUIRE(home.ask(wire::Mkdir{home.root(), "new", 0700, me}));
  CHECK(home.error(wire::Rename{home.root(), "new", home.root(), "a", 0, me}) == ESTALE);
  CHECK(home.error(wire::Rename{home.root(), "new", home.root(), "a", RENAME_NOREPLACE, me}) == EEXIST);
  CHECK(home.error(wire::Rmdir{home.root(), "c", me}) == ESTALE);
  CHECK(home.look(home.root(), "c").node == other);
  CHECK(home.error(wire::Rmdir{home.root(), "c", me}) == 0);
  CHECK(home.look(home.root(), "a").node == made->node);
  CHECK(home.error(wire::Rename{home.root(), "new", home.root(), "a", 0, me}) == 0);
}

TEST_CASE("names are bytes, and one component") {
  TestHome home;
  const std::string odd = "\xff\xfe\n \\\"'*\x01", longest(255, 'x');
  for (const auto& name : {odd, longest, std::string("-"), std::string("...")}) {
    const auto made = home.ask(wire::Mkdir{home.root(), name, 0700, me});
    REQUIRE(made);
    CHECK(std::filesystem::is_directory(home.path(name)));
    CHECK(home.look(home.root(), name).node == made->node);
  }
  CHECK(home.error(wire::Mkdir{home.root(), longest + "x", 0700, me}) == ENAMETOOLONG);
  for (const std::string name : {"", ".", "..", "a/b", "/"})
    CHECK(home.error(wire::Lookup{home.root(), name, me}) == EINVAL);
  CHECK(home.error(wire::Lookup{home.root(), std::string("a\0b", 3), me}) == EINVAL);
}

TEST_CASE("hard links are one node, also of symbolic links") {
  TestHome home;
  home.write("a", "text");
  const auto a = home.look(home.root(), "a");
  const auto b = home.ask(wire::Link{a.node, home.root(), "b", me});
  REQUIRE(b);
  CHECK(b->node == a.node);
  CHECK(b->attr.nlink == 2);
  CHECK(home.error(wire::Rename{home.root(), "a", home.root(), "b", 0, me}) == 0);  // does nothing
  CHECK(std::filesystem::exists(home.path("a")));
  CHECK(home.error(wire::Unlink{home.root(), "b", me}) == 0);
  CHECK(home.ask(wire::Getattr{a.node, 0})->nlink == 1);
  CHECK(home.ask(wire::Symlink{home.root(), "s", "nowhere", me}));
  const auto s = home.look(home.root(), "s");
  const auto t = home.ask(wire::Link{s.node, home.root(), "t", me});
  REQUIRE(t);
  CHECK(t->node == s.node);
  CHECK(S_ISLNK(t->attr.mode));
}

TEST_CASE("nodes follow renames, and hold what lost its name, when few descriptors may be open") {
  TestHome home({.descriptors = 2});
  std::filesystem::create_directories(home.path("d/e"));
  home.write("d/e/deep", "deep");
  home.write("f", "f");
  const auto d = home.look(home.root(), "d"), e = home.look(d.node, "e"), deep = home.look(e.node, "deep");
  const auto f = home.look(home.root(), "f");
  const auto crowd_out = [&] {
    for (int i = 0; i < 10; ++i) {
      home.write("x" + std::to_string(i), "");
      CHECK(home.look(home.root(), "x" + std::to_string(i)).node != 0);
    }
  };
  CHECK(home.error(wire::Rename{home.root(), "d", home.root(), "D", 0, me}) == 0);
  crowd_out();
  CHECK(home.ask(wire::Getattr{deep.node, 0})->size == 4);
  CHECK(home.error(wire::Unlink{e.node, "deep", me}) == 0);
  CHECK(home.error(wire::Rename{home.root(), "x1", home.root(), "f", 0, me}) == 0);
  crowd_out();
  CHECK(home.ask(wire::Getattr{deep.node, 0})->nlink == 0);
  CHECK(home.ask(wire::Getattr{f.node, 0})->nlink == 0);
  CHECK(home.look(e.node, "deep").node == 0);

  // Moved at home, unseen by us: the name does not verify any more.
  const auto x2 = home.look(home.root(), "x2");
  std::filesystem::rename(home.path("x2"), home.path("y"));
  home.server().idle();
  CHECK(home.error(wire::Getattr{x2.node, 0}) == ESTALE);
  home.tell(wire::Forget{{{x2.node, 2}}});
}

TEST_CASE("mount points belong to another file system, and /proc is an empty directory") {
  TestHome home;
  const auto mounts = home.server().mounts();
  REQUIRE(!mounts.mounts.empty());
  const auto root = mounts.mounts[0];
  CHECK(root.path == "/");
  CHECK_FALSE(home.server().mounts_changed());
  const auto proc = home.look(root.root, "proc");
  REQUIRE(proc.node != 0);
  CHECK(home.error(wire::Lookup{proc.node, "self", me}) == ENOENT);
  CHECK(home.error(wire::Mkdir{proc.node, "x", 0700, me}) == EROFS);
  const auto handle = home.open(proc.node, O_RDONLY | O_DIRECTORY);
  REQUIRE(handle != 0);
  CHECK(home.ask(wire::Readdir{handle, 0, 1})->entries.empty());
  if (!can_mount()) return;
  std::filesystem::create_directory(home.path("m"));
  const auto below = home.look(home.root(), "m");
  REQUIRE(::mount("none", home.path("m").c_str(), "tmpfs", 0, nullptr) == 0);
  const auto mounted = home.look(home.root(), "m");
  CHECK(mounted.node != below.node);
  CHECK(mounted.fs != below.fs);
  CHECK(home.server().mounts_changed());
  const auto now = home.server().mounts();
  CHECK(now.mounts.size() == mounts.mounts.size() + 1);
  for (const auto& mount : now.mounts)
    if (mount.path == home.path("m")) CHECK(mount.root == mounted.node);
  CHECK(::umount(home.path("m").c_str()) != 0);
  home.server().idle();  // lets go of home's disks
  CHECK(::umount(home.path("m").c_str()) == 0);
  CHECK(home.server().mounts_changed());
}

TEST_CASE("attributes are set as asked") {
  TestHome home;
  home.write("file", "0123456789");
  using S = wire::Setattr;
  const auto file = home.look(home.root(), "file");
  auto set = TestHome::setting(file.node, S::set_mode | S::set_size | S::set_mtime | S::set_atime);
  set.mode = 0640;
  set.size = 4;
  set.mtime = -1;  // a nanosecond before 1970
  set.atime = 1'700'000'000'123'456'789;
  const auto attr = home.ask(set);
  REQUIRE(attr);
  CHECK((attr->mode & 07777) == 0640);
  CHECK(attr->size == 4);
  CHECK(attr->mtime == -1);
  CHECK(attr->atime == 1'700'000'000'123'456'789);

  set.fields = S::set_mtime | S::mtime_now;
  CHECK(home.ask(set)->mtime > 1'700'000'000'000'000'000);
  CHECK(home.ask(set)->atime == 1'700'000'000'123'456'789);

  CHECK(home.content("file") == "0123");  // not before: it moves atime

  home.ask(wire::Symlink{home.root(), "link", "file", me});
  set.node = home.look(home.root(), "link").node;
  set.fields = S::set_mtime;
  set.mtime = 5;
  CHECK(home.ask(set)->mtime == 5);
  CHECK(home.ask(wire::Getattr{file.node, 0})->mtime != 5);
  set.fields = S::set_size;
  CHECK(home.error(set) != 0);
  if (::geteuid() == 0) {
    set.fields = S::set_uid | S::set_gid;
    set.uid = 1234;
    set.gid = 5678;
    const auto link = home.ask(set);
    CHECK(link->uid == 1234);
    CHECK(link->gid == 5678);
    CHECK(home.ask(wire::Getattr{file.node, 0})->uid == 0);
  }
  CHECK(home.ask(wire::Statfs{file.node})->bsize > 0);
  CHECK(home.error(wire::Access{file.node, R_OK | W_OK, me}) == 0);
}

TEST_CASE("extended attributes") {
  TestHome home;
  home.write("file", "");
  if (::setxattr(home.path("file").c_str(), "user.t", "", 0, 0) != 0) return;  // a file system without them
  const auto node = home.look(home.root(), "file").node;
  const std::string value("a\0b", 3);
  CHECK(home.error(wire::Setxattr{node, "user.x", XATTR_CREATE, me}, value) == 0);
  CHECK(home.error(wire::Setxattr{node, "user.x", XATTR_CREATE, me}, value) == EEXIST);
  CHECK(home.error(wire::Getxattr{node, "user.x"}) == 0);
  CHECK(home.body() == value);
  CHECK(home.error(wire::Getxattr{node, "user.t"}) == 0);
  CHECK(home.body().empty());
  CHECK(home.error(wire::Listxattr{node}) == 0);
  CHECK(home.body().find(std::string("user.x\0", 7)) != std::string::npos);
  CHECK(home.error(wire::Removexattr{node, "user.x", me}) == 0);
  CHECK(home.error(wire::Getxattr{node, "user.x"}) == ENODATA);
  CHECK(home.error(wire::Getxattr{node, ""}) == EINVAL);
  home.ask(wire::Symlink{home.root(), "link", "file", me});
  const auto link = home.look(home.root(), "link").node;
  CHECK(home.error(wire::Setxattr{link, "user.x", 0, me}, value) == EPERM);
  CHECK(home.error(wire::Getxattr{link, "user.t"}) != 0);  // not the target's
}

TEST_CASE("the umask counts where there is no default ACL, and who has an ACL is told") {
  TestHome home;
  const auto me = TestHome::me();
  const auto plain = home.ask(wire::Mkdir{home.root(), "plain", 0777, me, 027});
  REQUIRE(plain);
  CHECK(plain->attr.mode == (S_IFDIR | 0750));
  CHECK(plain->attr.acl == 0);
  // rwx for owner, group and others, and no more: as xattr(7) has it, see <linux/posix_acl_xattr.h>.
  const std::uint32_t words[] = {2, 1 | 7 << 16, ~0U, 4 | 7 << 16, ~0U, 32 | 7 << 16, ~0U};
  const std::string_view acl(reinterpret_cast<const char*>(words), sizeof words);
  if (home.error(wire::Setxattr{plain->node, "system.posix_acl_default", 0, me}, acl) != 0)
    return;  // knows none
  CHECK(home.look(home.root(), "plain").attr.acl == 1);
  CHECK(home.ask(wire::Getattr{plain->node})->acl == 1);
  CHECK(home.ask(wire::Mkdir{plain->node, "in", 0777, me, 027})->attr.mode == (S_IFDIR | 0777));
  CHECK(home.ask(wire::Mknod{plain->node, "file", S_IFREG | 0666, 0, me, 027})->attr.mode ==
        (S_IFREG | 0666));
}
