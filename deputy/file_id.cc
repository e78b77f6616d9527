// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_id.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdio>

#include "common/file_time.h"

namespace ssi {
namespace {

constexpr unsigned wanted = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;

std::int64_t ns(const statx_timestamp& time) {
  return to_ns(time.tv_sec, time.tv_nsec);
}

}  // namespace

int stat_at(int dir, const char* name, struct statx& status) {
  return ::statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, wanted, &status) == 0 ? 0 : errno;
}

int stat_of(int fd, struct statx& status) {
  return ::statx(fd, "", AT_EMPTY_PATH, wanted, &status) == 0 ? 0 : errno;
}

FileId id_of(const struct statx& status) {
  return {::makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino,
          status.stx_mask & STATX_BTIME ? ns(status.stx_btime) : 0,
          status.stx_mode & static_cast<unsigned>(S_IFMT)};
}

wire::Space space_of(const struct statvfs& space) {
  return {space.f_bsize,  space.f_frsize, space.f_blocks, space.f_bfree,
          space.f_bavail, space.f_files,  space.f_ffree,  space.f_namemax};
}

wire::Attr attr_of(const struct statx& status) {
  wire::Attr attr;
  attr.ino = status.stx_ino;
  attr.mode = status.stx_mode;
  attr.nlink = status.stx_nlink;
  attr.uid = status.stx_uid;
  attr.gid = status.stx_gid;
  attr.rdev = ::makedev(status.stx_rdev_major, status.stx_rdev_minor);
  attr.size = status.stx_size;
  attr.blocks = status.stx_blocks;
  attr.blksize = status.stx_blksize;
  attr.atime = ns(status.stx_atime);
  attr.mtime = ns(status.stx_mtime);
  attr.ctime = ns(status.stx_ctime);
  return attr;
}

ProcPath::ProcPath(int fd) {
  std::snprintf(text_, sizeof text_, "/proc/self/fd/%d", fd);
}

}  // namespace ssi
