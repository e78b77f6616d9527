// SPDX-License-Identifier: LGPL-2.1-or-later
// An open file description of home's that a guest's handle stands for. Its offset is shared: by what holds it at home, and
// by other jobs that were given it. The guest's kernel counts an offset of its own from the same start. A transfer there
// that goes on where the last one ended goes on here wherever the description stands by now; any other has seeked.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/fd.h"

namespace ssi {

class Description {
 public:
  Description(Fd fd, std::uint64_t offset) : fd_(std::move(fd)), next_(offset) {}

  int fd() const { return fd_.get(); }
  std::uint64_t next() const { return next_; }  // the guest's offset where the last transfer ended
  void seek(std::uint64_t offset) { ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET); }

  // Where at home a transfer at the guest's offset `at` begins. On the thread pool, as these:
  std::uint64_t place_of(std::uint64_t at) const;
  // On the thread pool, one after the other. `at`: the guest's offset. 0, or an errno when nothing was done.
  int read(std::uint64_t at, std::string& bytes);  // as many as it has room for; cut at the end of the file
  int write(std::uint64_t at, std::string_view bytes, std::uint32_t& written);
  int copy(int from, std::int64_t from_offset, std::uint64_t at, std::size_t length, std::uint32_t& copied);

 private:
  template <class Part>
  int transfer(std::uint64_t at, std::size_t size, std::size_t& done, const Part& part);

  Fd fd_;
  std::atomic<std::uint64_t> next_;
};

}  // namespace ssi
