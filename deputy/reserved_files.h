// SPDX-License-Identifier: LGPL-2.1-or-later
// Files without a name, made ahead: a guest tells its jobs the inode numbers of files that it has home make only afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/fd.h"
#include "deputy/act_as.h"

namespace ssi {

class ReservedFiles {
 public:
  // At most so many at a time: each takes a descriptor.
  explicit ReservedFiles(std::size_t most) : most_(most) {}

  // Makes up to `count` files as this user, in the file system of directory `dir`, for a job. Their inode numbers; none where the file
  // system can't (NFS), or there is no room.
  std::vector<std::uint64_t> reserve(int dir, const Rights& rights, std::uint64_t job, std::size_t count);

  // The file, open for reading and writing, nameless, of mode 0; none: it was not reserved for this user.
  Fd take(std::uint64_t inode, const Rights& rights);

  void end(std::uint64_t job);  // those that it has not used
  void clear() { files_.clear(); }

  std::size_t of(std::uint64_t job) const;
  std::size_t size() const { return files_.size(); }

 private:
  struct File {
    Fd fd;
    Rights owner;
    std::uint64_t job;
  };
  const std::size_t most_;
  std::unordered_map<std::uint64_t, File> files_;  // by inode; two file systems' may be the same, then the second is not kept
};

}  // namespace ssi
