// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/reserved_files.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace ssi;

TEST_CASE("reserved files have inodes of their own, and are had once, by their user") {
  const Fd dir(::open("/tmp", O_PATH | O_DIRECTORY));
  ReservedFiles reserved(3);
  const auto inodes = reserved.reserve(dir.get(), {}, 1, 2);
  REQUIRE(inodes.size() == 2);
  CHECK(inodes[0] != inodes[1]);
  Rights another;
  another.own = false;
  another.uid = 12345;
  CHECK_FALSE(reserved.take(inodes[0], another));
  const Fd file = reserved.take(inodes[0], {});
  REQUIRE(file);
  struct stat status;
  REQUIRE(::fstat(file.get(), &status) == 0);
  CHECK(status.st_ino == inodes[0]);
  CHECK(status.st_nlink == 0);
  CHECK_FALSE(reserved.take(inodes[0], {}));
}

TEST_CASE("no more than so many are reserved, and a job's end gives them back") {
  const Fd dir(::open("/tmp", O_PATH | O_DIRECTORY));
  ReservedFiles reserved(3);
  CHECK(reserved.reserve(dir.get(), {}, 1, 2).size() == 2);
  CHECK(reserved.reserve(dir.get(), {}, 2, 2).size() == 1);
  CHECK(reserved.of(1) == 2);
  reserved.end(1);
  CHECK(reserved.size() == 1);
  CHECK(reserved.reserve(dir.get(), {}, 1, 9).size() == 2);
  reserved.clear();
  CHECK(reserved.size() == 0);
}
