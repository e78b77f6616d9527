// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_descriptors.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "agent/inside.h"

namespace ssi {
namespace {

// Of open(2)'s flags what says how a description is used, not how it came to be.
constexpr int descriptions_flags =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_NOATIME | O_DIRECT | O_DIRECTORY;

// The same file at the same place, or the job must not start.
Result<Fd> open_file(const wire::Descriptor& file) {
  const int flags = static_cast<int>(file.flags) & descriptions_flags;
  // An offset that others share is home's: no cache may come between.
  const int adopts = file.token ? inside::adopts : 0;
  Fd opened(::open(file.path.c_str(), flags | adopts | O_NOCTTY | O_CLOEXEC));
  struct stat status;
  if (!opened || ::fstat(opened.get(), &status) != 0) return os_error("open " + file.path);
  const auto type = flags & O_DIRECTORY ? S_IFDIR : S_IFREG;
  if ((status.st_mode & S_IFMT) != static_cast<mode_t>(type) || status.st_ino != file.node)
    return os_error("open " + file.path, ESTALE);
  if (::lseek(opened.get(), static_cast<off_t>(file.offset), SEEK_SET) < 0)
    return os_error("seek in " + file.path);
  if (file.token &&
      (::ioctl(opened.get(), inside::adopt, &file.token) != 0 || ::fcntl(opened.get(), F_SETFL, flags) != 0))
    return os_error("adopt " + file.path);
  return opened;
}

Result<Fd> open_descriptor(const wire::Descriptor& descriptor, const std::vector<Held>& held, Fd passed,
                           int terminal) {
  switch (static_cast<wire::DescriptorKind>(descriptor.kind)) {
    case wire::DescriptorKind::input:
    case wire::DescriptorKind::output:
      return passed;
    case wire::DescriptorKind::same_as:
      for (const auto& other : held)
        if (other.number == descriptor.of) return other.fd.duplicate();
      break;
    case wire::DescriptorKind::device: {
      Fd opened(::open(("/dev/" + descriptor.path).c_str(),
                       static_cast<int>(descriptor.flags & O_ACCMODE) | O_NOCTTY | O_CLOEXEC));
      if (!opened) return os_error("open /dev/" + descriptor.path);
      return opened;
    }
    case wire::DescriptorKind::terminal:
      return Fd(::fcntl(terminal, F_DUPFD_CLOEXEC, 3));
    case wire::DescriptorKind::file:
      return open_file(descriptor);
  }
  return os_error("descriptor " + std::to_string(descriptor.fd), EBADF);
}

}  // namespace

Result<std::vector<Held>> open_descriptors(const wire::Start& start, std::vector<Fd>& fds, int terminal) {
  std::vector<Held> held;
  std::size_t next = 2;  // fds[0]: control, fds[1]: spec
  for (const auto& descriptor : start.descriptors) {
    const auto kind = static_cast<wire::DescriptorKind>(descriptor.kind);
    const bool is_passed = kind == wire::DescriptorKind::input || kind == wire::DescriptorKind::output;
    if (is_passed && next == fds.size()) return os_error("take a job's streams", EPROTO);
    auto opened = open_descriptor(descriptor, held, is_passed ? std::move(fds[next++]) : Fd(), terminal);
    if (!opened) return tl::make_unexpected(opened.error());
    held.push_back({descriptor.fd, std::move(*opened)});
  }
  return held;
}

std::vector<Held> files_of(const wire::Start& start, std::vector<Held> held) {
  std::size_t at = 0;
  std::erase_if(held, [&](const Held&) {
    return start.descriptors[at++].kind != static_cast<std::uint8_t>(wire::DescriptorKind::file);
  });
  return held;
}

}  // namespace ssi
