// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/reserved_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "deputy/file_id.h"

namespace ssi {
namespace {

bool same_user(const Rights& one, const Rights& other) {
  return one.own == other.own && one.uid == other.uid && one.gid == other.gid;
}

}  // namespace

std::vector<std::uint64_t> ReservedFiles::reserve(int dir, const Rights& rights, std::uint64_t job, std::size_t count) {
  std::vector<std::uint64_t> made;
  while (made.size() < count && files_.size() < most_) {
    Fd fd;
    const int error = act_as(rights, [&] {
      fd.reset(::open(ProcPath(dir).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0));
      return fd.get();
    });
    struct stat status;
    if (error || ::fstat(fd.get(), &status) != 0) break;
    if (!files_.try_emplace(status.st_ino, File{std::move(fd), rights, job}).second) break;
    made.push_back(status.st_ino);
  }
  return made;
}

Fd ReservedFiles::take(std::uint64_t inode, const Rights& rights) {
  const auto found = files_.find(inode);
  if (found == files_.end() || !same_user(found->second.owner, rights)) return {};
  Fd fd = std::move(found->second.fd);
  files_.erase(found);
  return fd;
}

std::size_t ReservedFiles::of(std::uint64_t job) const {
  return static_cast<std::size_t>(std::ranges::count_if(files_, [job](const auto& each) { return each.second.job == job; }));
}

void ReservedFiles::end(std::uint64_t job) {
  std::erase_if(files_, [job](const auto& each) { return each.second.job == job || each.second.job == 0; });
}

}  // namespace ssi
