// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/stream_fd.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <climits>
#include <string>

namespace ssi {

namespace {

// Some character devices (/dev/zero, /dev/full) cannot be polled, and never block either.
bool can_be_polled(int fd) {
  const Fd probe(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  return ::epoll_ctl(probe.get(), EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
}

}  // namespace

Result<StreamFd> StreamFd::adopt(Fd fd, Use use) {
  struct stat status;
  if (::fstat(fd.get(), &status) != 0) return os_error("fstat of a standard stream");
  StreamFd stream;
  stream.socket_ = S_ISSOCK(status.st_mode);
  stream.regular_ = !can_be_polled(fd.get());
  const bool fifo = S_ISFIFO(status.st_mode);
  // Opening /dev/ptmx again would make another terminal.
  const bool terminal_maker = S_ISCHR(status.st_mode) && status.st_rdev == makedev(5, 2);
  stream.guarded_ = terminal_maker;
  if (!stream.regular_ && !terminal_maker && (fifo || S_ISCHR(status.st_mode))) {
    const auto path = "/proc/self/fd/" + std::to_string(fd.get());
    const int flags = (use == Use::read ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    Fd again(::open(path.c_str(), flags));
    if (!again && fifo && errno == ENXIO) return os_error("reopen a standard stream");
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

Result<std::size_t> StreamFd::read(std::span<char> into) {
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
