// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_published.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "common/paths.h"
#include "common/whole_file.h"

namespace ssi {

std::string published_text(const PoolRecord& record) {
  return fmt::format(
      "# 'ssi pool up': scheduler pid {} start {}\nscheduler = \"{}\"\nscheduler_key = \"{}\"\n",
      record.scheduler.pid, record.scheduler.start, record.address, record.key);
}

ProcessId publisher_of(const std::string& text) {
  int pid = 0;
  unsigned long start = 0;
  if (std::sscanf(text.c_str(), "# 'ssi pool up': scheduler pid %d start %lu\n", &pid, &start) != 2)
    return {};
  return {pid, start};
}

Result<bool> publish_for_everybody(const std::string& text) {
  auto there = read_whole(paths::pool_file);
  if (there && *there != text && is_running(publisher_of(*there))) return false;
  auto directory = std::filesystem::path(paths::pool_file).parent_path().string();
  for (int tries = 3;; --tries) {
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return os_error(directory);
    ::chmod(directory.c_str(), 0755);  // whatever the umask was
    const auto done = put_file(paths::pool_file, text, {.mode = 0644});
    if (done) return true;
    // ENOENT: another pool that went down just now has removed the directory.
    if (done.error().code != std::errc::no_such_file_or_directory || tries == 1) return tl::make_unexpected(done.error());
  }
}

void unpublish_for_everybody(const std::string& text) {
  auto there = read_whole(paths::pool_file);
  if (!there || *there != text) return;
  ::unlink(paths::pool_file);
  ::rmdir(std::filesystem::path(paths::pool_file).parent_path().c_str());
}

}  // namespace ssi
