// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/store_room.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "common/identity.h"
#include "common/test_folder.h"

using namespace ssi;
namespace fs = std::filesystem;

namespace {

std::string home(char c) { return std::string(32, c); }

struct Disk {
  TestFolder folder;
  std::string path = folder.path() + "/cache";
  StoreRoom room() const { return {path, 400}; }
  std::string directory(char c) const { return path + "/" + key_text(home(c)); }
};

void leave(const Disk& disk, char c) {
  auto room = disk.room();
  REQUIRE(room.open(home(c), ::geteuid()));
  std::ofstream(disk.directory(c) + "/file") << c;
  ::usleep(10'000);  // which home was last is told by times
}

}  // namespace

TEST_CASE("each home has a directory of its own, that one session at a time has") {
  const Disk disk;
  auto room = disk.room();
  auto one = room.open(home('a'), ::geteuid()), other = room.open(home('b'), ::geteuid());
  REQUIRE(one);
  REQUIRE(other);
  CHECK(one->limit == 100);
  struct stat status;
  REQUIRE(::stat(disk.path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
  const auto again = room.open(home('a'), ::geteuid());
  REQUIRE_FALSE(again);
  CHECK(again.error().code.value() == EBUSY);
  one->directory.reset();
  CHECK(room.open(home('a'), ::geteuid()));
}

TEST_CASE("what is in it is there for the next agent, until the guest boots") {
  const Disk disk;
  leave(disk, 'a');
  {
    auto next = disk.room();
    REQUIRE(next.open(home('b'), ::geteuid()));
    CHECK(fs::exists(disk.directory('a') + "/file"));
  }
  std::ofstream(disk.path + "/boot") << "another\n";
  auto after = disk.room();
  REQUIRE(after.open(home('b'), ::geteuid()));
  CHECK_FALSE(fs::exists(disk.directory('a')));
}

TEST_CASE("the home that was here longest ago makes room, unless it is here") {
  const Disk disk;
  for (const char c : {'a', 'b', 'c', 'd'}) leave(disk, c);
  auto room = disk.room();
  const auto first = room.open(home('a'), ::geteuid());  // from now on it was here last
  REQUIRE(first);
  const auto fifth = room.open(home('e'), ::geteuid());
  REQUIRE(fifth);
  CHECK(fs::exists(disk.directory('a')));
  CHECK_FALSE(fs::exists(disk.directory('b')));
  const auto second = room.open(home('c'), ::geteuid()), third = room.open(home('d'), ::geteuid());
  REQUIRE(second);
  REQUIRE(third);
  const auto refused = room.open(home('f'), ::geteuid());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code.value() == ENOSPC);
  CHECK_FALSE(fs::exists(disk.directory('f')));
}

TEST_CASE("a directory that another user could look through is not used") {
  const Disk disk;
  if (::geteuid() != 0) return;
  REQUIRE(fs::create_directory(disk.path));
  REQUIRE(::chown(disk.path.c_str(), 1, 1) == 0);
  auto room = disk.room();
  const auto opened = room.open(home('a'), 0);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().text().find("another user") != std::string::npos);
}
