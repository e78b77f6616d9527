// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/lock_description.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

namespace ssi {
namespace {

Answer<Fd> open_again(const OpenFile& file) {
  const ProcPath path(file.fd.get());
  const int mode = ::fcntl(file.fd.get(), F_GETFL) & O_ACCMODE;
  // To read as well, so that whatever its owner locks later needs no other description. Never to write what
  // is open only to be read: home's inotify would tell of it, and nobody could execute the file meanwhile.
  for (const int wanted : {mode == O_WRONLY ? O_RDWR : mode, mode}) {
    Fd fd;
    const int error = act_as(file.rights, [&] {
      fd.reset(::open(path.c_str(), wanted | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_LARGEFILE));
      return fd.get();
    });
    if (!error) return fd;
  }
  return fails(ENOLCK);
}

}  // namespace

Answer<LockDescription> LockDescription::of(const std::shared_ptr<OpenFile>& file) {
  if (!file->fd) return fails(EBADF);
  LockDescription made;
  // One that can only be written is not lent if it need not be: see open_again().
  if (file->lent || (::fcntl(file->fd.get(), F_GETFL) & O_ACCMODE) == O_WRONLY) {
    auto again = open_again(*file);
    if (!again && file->lent) return fails(again.error());
    if (again) {
      made.own_ = std::move(*again);
      return made;
    }
  }
  file->lent = true;
  made.lent_ = file;
  return made;
}

LockDescription& LockDescription::operator=(LockDescription&& other) noexcept {
  std::swap(own_, other.own_);
  std::swap(lent_, other.lent_);
  return *this;
}

LockDescription::~LockDescription() {
  if (!lent_) return;  // the kernel does it when the last copy is closed
  struct flock all {};
  all.l_type = F_UNLCK;
  all.l_whence = SEEK_SET;
  ::fcntl(lent_->fd.get(), F_OFD_SETLK, &all);
  lent_->lent = false;
}

bool LockDescription::may(int type) const {
  const int mode = ::fcntl(fd(), F_GETFL) & O_ACCMODE;
  return mode == O_RDWR || type == F_UNLCK || mode == (type == F_RDLCK ? O_RDONLY : O_WRONLY);
}

int LockDescription::share(const LockDescription& former) const {
  for (auto& range : former.ranges())
    if (::fcntl(fd(), F_OFD_SETLK, &range) != 0) return ENOLCK;
  return 0;
}

// proc(5), /proc/PID/fdinfo: "lock:	1: OFDLCK ADVISORY  WRITE -1 08:01:1234 10 19"; the end may be "EOF".
std::vector<struct flock> LockDescription::ranges() const {
  std::vector<struct flock> found;
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd()));
  for (std::string line; std::getline(info, line);) {
    char type[8], end[24];
    long long start = 0;
    if (std::sscanf(line.c_str(), "lock: %*s OFDLCK %*s %7s %*s %*s %lld %23s", type, &start, end) != 3)
      continue;
    struct flock range {};
    range.l_type = type[0] == 'W' ? F_WRLCK : F_RDLCK;
    range.l_whence = SEEK_SET;
    range.l_start = start;
    range.l_len = end[0] == 'E' ? 0 : std::atoll(end) - start + 1;
    found.push_back(range);
  }
  return found;
}

}  // namespace ssi
