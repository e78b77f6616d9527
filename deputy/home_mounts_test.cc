// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_mounts.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "deputy/test_home.h"

using namespace ssi;

TEST_CASE("mountinfo is parsed") {
  const auto lines = parse_mountinfo(
      "36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n"
      "nonsense\n"
      "37 x\n"
      "38 36 0:5 / /ro ro,nosuid - tmpfs none rw\n"
      "39 36 0:6 / /ro2 rw - ext4 /dev/x ro\n"
      "40 36 0:7 / /half\\04 rw - ext4");
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].id == 36);
  CHECK(lines[0].dev == ::makedev(98, 0));
  CHECK(lines[0].path == "/mnt 2\\x");
  CHECK(lines[0].type == "ext3");
  CHECK_FALSE(lines[0].read_only);
  CHECK(lines[1].read_only);
  CHECK(lines[2].read_only);
  CHECK(lines[3].path == "/half\\04");
  CHECK(parse_mountinfo("").empty());
}

TEST_CASE("what is exported: files, parents first, the last on each path") {
  const auto line = [](std::uint64_t id, std::string path, std::string type) {
    return MountLine{id, id, std::move(path), std::move(type), false};
  };
  const auto exported =
      exportable({line(1, "/home/u", "ext4"), line(2, "/", "ext4"), line(3, "/proc", "proc"),
                  line(4, "/dev/shm", "tmpfs"), line(5, "/home", "xfs"), line(6, "/mnt", "ext4"),
                  line(7, "/mnt", "tmpfs"), line(8, "/gone", "ext4"), line(9, "/gone", "sysfs"),
                  line(10, "/guest", "fuse.ssi"), line(11, "/devices", "ext4")});
  std::string text;
  for (const auto& mount : exported) text += mount.path + ":" + std::to_string(mount.id) + " ";
  CHECK(text == "/:2 /devices:11 /home:5 /home/u:1 /mnt:7 ");
}

TEST_CASE("a new file system has a new number, and the number stays") {
  if (!can_mount()) return;
  TestHome home;
  const auto policy = ExportPolicy::exactly({});
  HomeMounts mounts;
  auto before = mounts.read(policy);
  REQUIRE(before);
  CHECK_FALSE(mounts.changed());
  CHECK(before->front().path == "/");
  const auto root_fs = before->front().fs;

  std::filesystem::create_directory(home.path("a b"));
  REQUIRE(::mount("none", home.path("a b").c_str(), "tmpfs", 0, nullptr) == 0);
  CHECK(mounts.changed());
  CHECK(mounts.changed());
  const auto after = mounts.read(policy);
  REQUIRE(after);
  CHECK_FALSE(mounts.changed());
  CHECK(after->size() == before->size() + 1);
  CHECK(after->front().fs == root_fs);
  const auto found = std::find_if(after->begin(), after->end(),
                                  [&](const auto& root) { return root.path == home.path("a b"); });
  REQUIRE(found != after->end());
  CHECK(std::none_of(before->begin(), before->end(), [&](const auto& root) { return root.fs == found->fs; }));

  // A later mount above hides it.
  REQUIRE(::mount("none", home.path().c_str(), "tmpfs", 0, nullptr) == 0);
  std::filesystem::create_directory(home.path("a b"));
  CHECK(mounts.read(policy)->size() == before->size() + 1);
  ::umount2(home.path().c_str(), MNT_DETACH);
  ::umount2(home.path("a b").c_str(), MNT_DETACH);
}
