// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/attributes.h"

#include <doctest/doctest.h>

#include <limits>

#include "agent/fuse.h"

TEST_CASE("times before 1970 and with nanoseconds") {
  ssi::wire::Attr attr;
  attr.mtime = -1;
  attr.ctime = 1'700'000'000'123'456'789;
  const auto stat = ssi::to_stat(attr);
  CHECK(stat.st_mtim.tv_sec == -1);
  CHECK(stat.st_mtim.tv_nsec == 999'999'999);
  CHECK(stat.st_ctim.tv_sec == 1'700'000'000);
  CHECK(stat.st_ctim.tv_nsec == 123'456'789);
}

TEST_CASE("owners are home's, or squashed") {
  ssi::wire::Attr attr;
  attr.uid = 0;
  attr.gid = 50;
  CHECK(ssi::to_stat(attr).st_uid == 0);
  CHECK(ssi::to_stat(attr).st_gid == 50);
  const auto squashed = ssi::to_stat(attr, ssi::Ids{1000, 1001});
  CHECK(squashed.st_uid == 1000);
  CHECK(squashed.st_gid == 1001);
}

TEST_CASE("setattr's fields, one by one") {
  using Set = ssi::wire::Setattr;
  struct stat stat {};
  stat.st_mode = S_IFREG | 04755;
  stat.st_size = 5ll << 30;
  stat.st_mtim = {-1, 999'999'999};
  stat.st_atim = {253'402'300'799, 0};  // year 9999: more than 64 bits of nanoseconds
  Set request;
  ssi::set_fields(request, stat, FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME);
  CHECK(request.fields == (Set::set_mode | Set::set_size | Set::set_mtime));
  CHECK(request.mode == 04755);
  CHECK(request.size == 5ull << 30);
  CHECK(request.mtime == -1);
  CHECK(request.atime == std::numeric_limits<std::int64_t>::max());
  request.fields = 0;
  ssi::set_fields(request, stat,
                  FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW |
                      FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_CTIME);
  CHECK(request.fields == (Set::set_atime | Set::atime_now | Set::mtime_now | Set::set_uid | Set::set_gid));
}
