// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job's input holds, looked at without taking it: only what the job has really read is taken, so that who reads
// on after it finds the rest. Pipes are looked at with tee(2), stream sockets with MSG_PEEK, regular files with pread(2).
// The descriptor's flags stay as they are, as others hold it too.
#pragma once

#include <cstdint>
#include <span>

#include "common/fd.h"
#include "common/stream_fd.h"

namespace ssi {

class PeekedInput : public Readable {
 public:
  static bool possible(int fd);

  explicit PeekedInput(Fd fd);  // one for which it is possible

  // The next bytes that were not seen yet.
  Result<std::size_t> read(std::span<char> into) override;

  int fd() const override { return edges_.get(); }
  bool pollable() const override { return kind_ != Kind::file; }
  bool peeks() const override { return true; }

  // Takes the first `bytes` of all that was seen. Of a file nothing: its offset is set once, at the job's end.
  void taken(std::uint64_t bytes) override;

 private:
  enum class Kind { pipe, socket, file };
  Result<std::size_t> peek(std::span<char> into);
  Result<std::size_t> peek_pipe(std::span<char> into, std::size_t skip);
  Result<std::size_t> peek_socket(std::span<char> into, std::size_t skip);
  void enlarge(std::size_t held);
  void look_again();

  Fd fd_;
  Kind kind_ = Kind::file;
  Fd edges_;  // an epoll: bytes that are seen and not taken keep the descriptor readable, so only news count
  Fd timer_;  // in it, for the news that make no edge
  long wait_us_ = 0;
  off_t start_ = 0;
  std::uint64_t seen_ = 0, taken_ = 0;
  bool enlarged_ = false;
};

}  // namespace ssi
