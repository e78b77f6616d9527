// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/stream_fd.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <string>

namespace ssi {

Result<StreamFd> StreamFd::adopt(Fd fd, Use use) {
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return os_error("fstat of a standard stream");
  StreamFd stream;
  stream.socket_ = S_ISSOCK(status.st_mode);
  stream.regular_ = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode);
  if (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)) {
    const auto path = "/proc/self/fd/" + std::to_string(fd.get());
    const int flags = (use == Use::read ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    Fd again(::open(path.c_str(), flags));
    if (!again && errno == ENXIO) return os_error("reopen a standard stream");
    stream.guarded_ = !again;
    if (again) fd = std::move(again);
  }
  stream.fd_ = std::move(fd);
  return stream;
}

Result<StreamFd> StreamFd::own(Fd fd) {
  if (::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK) != 0)
    return os_error("fcntl of a stream");
  StreamFd stream;
  stream.fd_ = std::move(fd);
  return stream;
}

bool StreamFd::ready(short events) const {
  pollfd wanted{fd_.get(), events, 0};
  return !guarded_ || ::poll(&wanted, 1, 0) > 0;
}

Result<std::size_t> StreamFd::read(std::span<char> into) const {
  if (!ready(POLLIN)) return os_error("read from a standard stream", EAGAIN);
  ssize_t got;
  do {
    got = socket_ ? ::recv(fd_.get(), into.data(), into.size(), MSG_DONTWAIT)
                  : ::read(fd_.get(), into.data(), into.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return os_error("read from a standard stream");
  return static_cast<std::size_t>(got);
}

Result<std::size_t> StreamFd::write(std::span<const char> from) const {
  if (!ready(POLLOUT)) return os_error("write to a standard stream", EAGAIN);
  // A pipe that polls writable takes this much without blocking.
  if (guarded_) from = from.first(std::min<std::size_t>(from.size(), PIPE_BUF));
  ssize_t done;
  do {
    done = socket_ ? ::send(fd_.get(), from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                   : ::write(fd_.get(), from.data(), from.size());
  } while (done < 0 && errno == EINTR);
  if (done < 0) return os_error("write to a standard stream");
  return static_cast<std::size_t>(done);
}

}  // namespace ssi
