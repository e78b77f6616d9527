// SPDX-License-Identifier: LGPL-2.1-or-later
// One end of a stream of bytes that somebody else may hold too: read and written without ever blocking, and without
// O_NONBLOCK leaking to the other holders of the same open file description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

// What a Source reads from.
class Readable {
 public:
  virtual ~Readable() = default;

  // Bytes moved, 0 at end of file. EAGAIN shows as an error with that code.
  virtual Result<std::size_t> read(std::span<char> into) = 0;

  virtual int fd() const = 0;                   // shows as readable when read() is worth calling
  virtual bool pollable() const = 0;            // else it never blocks
  virtual bool peeks() const { return false; }  // what was read stays there until taken() is told of it
  virtual void taken(std::uint64_t) {}          // so many bytes in all, since the beginning
};

class StreamFd : public Readable {
 public:
  enum class Use { read, write };
  StreamFd() = default;

  // Pipes and character devices are reopened through /proc/self/fd, or, when they belong to another user, polled before
  // each small step; sockets are used with MSG_DONTWAIT; what cannot be polled (regular files) never blocks. Fails with ENXIO for the write end
  // of a pipe that nobody reads.
  static Result<StreamFd> adopt(Fd fd, Use use);

  // For a descriptor that nobody else holds: sets O_NONBLOCK itself.
  static Result<StreamFd> own(Fd fd);

  // Bytes moved, 0 at end of file. EAGAIN shows as an error with that code.
  Result<std::size_t> read(std::span<char> into) override;
  Result<std::size_t> write(std::span<const char> from) const;

  bool pollable() const override { return !regular_; }
  int fd() const override { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
  bool regular_ = false, socket_ = false, guarded_ = false;
  bool ready(short events) const;  // for a guarded step; false: it would block
};

}  // namespace ssi
