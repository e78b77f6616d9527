// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/attributes.h"

#include "agent/fuse.h"
#include "common/file_time.h"

namespace ssi {

struct stat to_stat(const wire::Attr& attr, const std::optional<Ids>& squashed) {
  struct stat out {};
  out.st_ino = attr.ino;
  out.st_mode = attr.mode;
  out.st_nlink = attr.nlink;
  out.st_uid = squashed ? squashed->uid : attr.uid;
  out.st_gid = squashed ? squashed->gid : attr.gid;
  out.st_rdev = attr.rdev;
  out.st_size = static_cast<off_t>(attr.size);
  out.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  out.st_blksize = static_cast<blksize_t>(attr.blksize);
  out.st_atim = to_timespec(attr.atime);
  out.st_mtim = to_timespec(attr.mtime);
  out.st_ctim = to_timespec(attr.ctime);
  return out;
}

struct statvfs to_statvfs(const wire::Space& space) {
  struct statvfs out {};
  out.f_bsize = space.bsize;
  out.f_frsize = space.frsize;
  out.f_blocks = space.blocks;
  out.f_bfree = space.bfree;
  out.f_bavail = space.bavail;
  out.f_files = space.files;
  out.f_ffree = space.ffree;
  out.f_namemax = space.namemax;
  return out;
}

void set_fields(wire::Setattr& request, const struct stat& attr, int to_set) {
  const auto on = [&](int fuse_bit, wire::Setattr::Field field) {
    if (to_set & fuse_bit) request.fields |= field;
  };
  on(FUSE_SET_ATTR_MODE, wire::Setattr::set_mode);
  on(FUSE_SET_ATTR_UID, wire::Setattr::set_uid);
  on(FUSE_SET_ATTR_GID, wire::Setattr::set_gid);
  on(FUSE_SET_ATTR_SIZE, wire::Setattr::set_size);
  on(FUSE_SET_ATTR_ATIME, wire::Setattr::set_atime);
  on(FUSE_SET_ATTR_MTIME, wire::Setattr::set_mtime);
  on(FUSE_SET_ATTR_ATIME_NOW, wire::Setattr::atime_now);
  on(FUSE_SET_ATTR_MTIME_NOW, wire::Setattr::mtime_now);
  request.mode = attr.st_mode & 07777;
  request.uid = attr.st_uid;
  request.gid = attr.st_gid;
  request.size = static_cast<std::uint64_t>(attr.st_size);
  request.atime = to_ns(attr.st_atim.tv_sec, attr.st_atim.tv_nsec);
  request.mtime = to_ns(attr.st_mtim.tv_sec, attr.st_mtim.tv_nsec);
}

}  // namespace ssi
