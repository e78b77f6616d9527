// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_copy.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "deputy/file_id.h"

namespace ssi {
namespace {

Status copy_range(int from, int to, off_t at, off_t end) {
  for (off_t in = at, out = at; in < end;) {
    const auto done = ::copy_file_range(from, &in, to, &out, static_cast<std::size_t>(end - in), 0);
    if (done < 0) return os_error("copy it");
    if (done == 0) return failure("it became shorter meanwhile");
  }
  return {};
}

Status copy_content(int from, int to) {
  if (::ioctl(to, FICLONE, from) == 0) return {};
  struct stat status;
  if (::fstat(from, &status) != 0 || ::ftruncate(to, status.st_size) != 0) return os_error("copy it");
  for (off_t at = 0; at < status.st_size;) {
    const auto data = ::lseek(from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};  // a hole up to its end
    const auto hole = data < 0 ? -1 : ::lseek(from, data, SEEK_HOLE);
    const auto end = hole < 0 ? status.st_size : hole;
    if (auto done = copy_range(from, to, data < 0 ? at : data, end); !done) return done;
    at = end;
  }
  return {};
}

}  // namespace

std::vector<std::string> xattrs_of(int fd) {
  std::string list(65536, '\0');
  const auto size = ::listxattr(ProcPath(fd).c_str(), list.data(), list.size());
  std::vector<std::string> names;
  for (std::size_t at = 0; size > 0 && at < static_cast<std::size_t>(size); at += names.back().size() + 1)
    names.emplace_back(list.c_str() + at);
  return names;
}

std::optional<std::string> xattr_of(int fd, const std::string& name) {
  std::string value(65536, '\0');
  const auto size = ::getxattr(ProcPath(fd).c_str(), name.c_str(), value.data(), value.size());
  if (size < 0) return {};
  value.resize(static_cast<std::size_t>(size));
  return value;
}

Status copy_file(int from, int to) {
  if (auto done = copy_content(from, to); !done) return done;
  ::fremovexattr(to, "system.posix_acl_access");  // which a directory may give to all that is made there
  for (const auto& name : xattrs_of(from)) {
    const auto value = xattr_of(from, name);
    if (value && ::fsetxattr(to, name.c_str(), value->data(), value->size(), 0) != 0) return os_error(name);
  }
  return {};
}

}  // namespace ssi
