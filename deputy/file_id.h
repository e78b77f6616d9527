// SPDX-License-Identifier: LGPL-2.1-or-later
// Which file it is, whatever it is called: by this, nodes are told apart and names are verified.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <tl/expected.hpp>

#include "common/wire.h"

namespace ssi {

// What a file request comes to: a value, or the errno that the job is to see.
template <class T>
using Answer = tl::expected<T, int>;
inline tl::unexpected<int> fails(int error) {
  return tl::make_unexpected(error);
}

// The birth time tells a reused inode number from the file that had it before. Where a file system keeps none
// (0), the type at least keeps a directory from becoming a file.
struct FileId {
  std::uint64_t dev = 0, ino = 0;
  std::int64_t birth = 0;  // ns since the epoch
  std::uint32_t type = 0;  // S_IFMT bits
  bool operator==(const FileId&) const = default;
};

struct FileIdHash {
  std::size_t operator()(const FileId& id) const {
    return std::hash<std::uint64_t>()(id.ino * 0x9e3779b97f4a7c15u ^ id.dev << 48 ^
                                      static_cast<std::uint64_t>(id.birth));
  }
};

// What statx(2) says, and nothing is followed: neither a symbolic link nor an automount. 0 or an errno.
int stat_at(int dir, const char* name, struct statx& status);
int stat_of(int fd, struct statx& status);

FileId id_of(const struct statx& status);
wire::Attr attr_of(const struct statx& status);
wire::Space space_of(const struct statvfs& space);

// Leads open(2), chmod(2), … to the file of a descriptor, also an O_PATH one. Works for every fsuid: a
// process may always follow its own.
class ProcPath {
 public:
  explicit ProcPath(int fd);
  const char* c_str() const { return text_; }

 private:
  char text_[32];
};

}  // namespace ssi
