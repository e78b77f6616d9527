// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/description.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace ssi {

std::uint64_t Description::place_of(std::uint64_t at) const {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags >= 0 && flags & O_APPEND) {
    struct stat status;
    if (::fstat(fd_.get(), &status) == 0) return static_cast<std::uint64_t>(status.st_size);
  }
  const auto here = at == next_ ? ::lseek(fd_.get(), 0, SEEK_CUR) : -1;
  return here < 0 ? at : static_cast<std::uint64_t>(here);
}

// One who has seeked takes the description along, as it would at home.
template <class Part>
int Description::transfer(std::uint64_t at, std::size_t size, std::size_t& done, const Part& part) {
  if (at != next_ && ::lseek(fd_.get(), static_cast<off_t>(at), SEEK_SET) < 0) return errno;
  int error = 0;
  for (done = 0; done < size;) {
    const ssize_t moved = part(done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) error = errno;
    if (moved <= 0) break;
    done += static_cast<std::size_t>(moved);
  }
  next_ = at + done;
  return done ? 0 : error;
}

int Description::read(std::uint64_t at, std::string& bytes) {
  std::size_t done = 0;
  const int error = transfer(at, bytes.size(), done, [&](std::size_t from) {
    return ::read(fd_.get(), bytes.data() + from, bytes.size() - from);
  });
  bytes.resize(done);
  return error;
}

int Description::write(std::uint64_t at, std::string_view bytes, std::uint32_t& written) {
  std::size_t done = 0;
  const int error = transfer(at, bytes.size(), done, [&](std::size_t from) {
    return ::write(fd_.get(), bytes.data() + from, bytes.size() - from);
  });
  written = static_cast<std::uint32_t>(done);
  return error;
}

int Description::copy(int from, std::int64_t from_offset, std::uint64_t at, std::size_t length,
                      std::uint32_t& copied) {
  std::size_t done = 0;
  const int error = transfer(at, length, done, [&](std::size_t) {
    return ::copy_file_range(from, &from_offset, fd_.get(), nullptr, length - done, 0);
  });
  copied = static_cast<std::uint32_t>(done);
  return error;
}

}  // namespace ssi
