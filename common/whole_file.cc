// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/whole_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/fd.h"

namespace ssi {
namespace {

int write_fully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return -1;
    bytes.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

Status put_file(const std::string& path, std::string_view bytes, Placing how) {
  auto beside = path + ".XXXXXX";
  const Fd file(::mkostemp(beside.data(), O_CLOEXEC));
  if (!file) return os_error("create " + path);
  const auto place = [&] { return how.replaces ? ::rename(beside.c_str(), path.c_str()) : ::link(beside.c_str(), path.c_str()); };
  const bool done = write_fully(file.get(), bytes) == 0 && ::fchmod(file.get(), how.mode) == 0 &&
                    (!how.is_durable || ::fsync(file.get()) == 0) && place() == 0;
  const int error = done ? 0 : errno;
  if (error || !how.replaces) ::unlink(beside.c_str());
  if (error) return os_error("write " + path, error);
  return {};
}

Status check_trusted(const std::string& path, const struct stat& file) {
  if (file.st_uid != ::geteuid() && file.st_uid != 0)
    return failure(path + ": belongs to another user (uid " + std::to_string(file.st_uid) + ")");
  if (file.st_mode & 022) return failure(path + ": others may write to it: chmod go-w " + path);
  return {};
}

Result<std::string> read_whole(const std::string& file) {
  Fd in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return os_error(file);
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = ::read(in.get(), piece, sizeof piece)) != 0;) {
    if (n < 0) return os_error(file);
    text.append(piece, static_cast<std::size_t>(n));
  }
  return text;
}

std::string boot_id() {
  return read_whole("/proc/sys/kernel/random/boot_id").value_or("unknown");
}

}  // namespace ssi
