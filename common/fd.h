// SPDX-License-Identifier: LGPL-2.1-or-later
// A file descriptor with an owner. The only place that calls close(2).
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <utility>

namespace ssi {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Gives up ownership.
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

  // A second descriptor of the same open file description, close-on-exec. Empty with errno set on failure.
  Fd duplicate() const { return Fd(::fcntl(fd_, F_DUPFD_CLOEXEC, 3)); }

 private:
  int fd_ = -1;
};

// Shared, so that who closes it to make room never pulls it from under a request or a thread.
using Descriptor = std::shared_ptr<const Fd>;

}  // namespace ssi
