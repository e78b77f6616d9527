// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/reaching_shells.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

const std::string home =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "23 22 0:20 / /proc rw,nosuid shared:2 - proc proc rw\n"
    "24 22 0:30 / /with\\040blank rw - tmpfs some rw\n";
const std::string inside =  // other numbers, another order, other propagation
    "101 100 0:20 / /proc rw,nosuid master:2 - proc proc rw\n"
    "100 1 254:0 / / rw,relatime master:1 - ext4 /dev/vda rw\n"
    "102 100 0:30 / /with\\040blank rw - tmpfs some rw\n";
const std::string tree =
    "110 100 0:40 / /s/deep rw - tmpfs ssi-deep rw\n"
    "111 110 254:0 / /s/deep/home ro,relatime - ext4 /dev/vda rw\n";
const std::string gcc = "120 100 254:0 /opt/ssirun /usr/bin/gcc rw,relatime - ext4 /dev/vda rw\n";

MountDifference compare(const std::string& theirs) {
  return compare_mounts(home, theirs, "/s/deep", [](const std::string& place) { return place == "/usr/bin/gcc"; });
}

}  // namespace

TEST_CASE("a deep shell's mounts are home's but for ssirun over programs") {
  const auto same = compare(inside + tree + gcc);
  CHECK(same.is_deep);
  CHECK(same.place == "");
}

TEST_CASE("without the tree it is no deep shell") {
  CHECK_FALSE(compare(inside).is_deep);
  CHECK_FALSE(compare(inside + gcc).is_deep);
  CHECK_FALSE(compare("").is_deep);
}

TEST_CASE("any other difference is named") {
  CHECK(compare(inside + tree + "120 100 254:0 /opt/x /usr/bin/cc rw - ext4 /dev/vda rw\n").place ==
        "/usr/bin/cc");
  CHECK(compare(inside + tree + "120 100 0:50 / /mnt rw - tmpfs none rw\n").place == "/mnt");
  CHECK(compare(inside + tree + gcc + gcc).place == "/usr/bin/gcc");
  CHECK(compare(inside + tree + "119 100 0:60 /empty /usr/bin/gcc rw - tmpfs mask rw\n" + gcc).place == "/usr/bin/gcc");
  CHECK_FALSE(compare(inside + "110 100 0:40 / /mnt rw - tmpfs ssi-deep rw\n").is_deep);  // of somebody else's making
  CHECK(compare(inside + "110 100 0:40 / /mnt rw - tmpfs ssi-deep rw\n" + tree).place == "/mnt");
  CHECK(compare(inside.substr(inside.find('\n') + 1) + tree).place == "/proc");
  auto read_only = inside;
  read_only.replace(read_only.find("/ rw,relatime"), 4, "/ ro");
  CHECK(compare(read_only + tree).place == "/");
  auto blank = inside;
  blank.replace(blank.find("0:30"), 4, "0:31");
  CHECK(compare(blank + tree).place == "/with blank");
}
