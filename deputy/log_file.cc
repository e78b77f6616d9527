// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd.h"

namespace ssi::log_file {

Status open(const std::string& path) {
  const Fd log(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!log) return os_error("open " + path);
  if (::dup2(log.get(), STDERR_FILENO) < 0) return os_error("dup2");
  return cut();
}

// What is written next stands at the new end: the file is open for appending.
Status cut() {
  struct stat status;
  if (::fstat(STDERR_FILENO, &status) == 0 && status.st_size > max_bytes &&
      ::ftruncate(STDERR_FILENO, 0) != 0)
    return os_error("truncate the log");
  return {};
}

}  // namespace ssi::log_file
