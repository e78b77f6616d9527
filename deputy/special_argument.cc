// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/special_argument.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>

namespace ssi {
namespace {

constexpr std::size_t max_arguments = 1000;  // looked at: each costs a stat(2)

// The devices that agent/stem.cc puts into a guest's /dev: null zero full random urandom, and tty.
bool in_every_guest(dev_t device) {
  const auto number = minor(device);
  return (major(device) == 1 && (number == 3 || number == 5 || (number >= 7 && number <= 9))) ||
         (major(device) == 5 && number == 0);
}

std::string kind_of(const std::string& cwd, const std::string& name) {
  const auto path = name[0] == '/' ? name : cwd + "/" + name;
  // These are the asking process's own, not the job's.
  for (const char* own : {"/proc/", "/dev/fd/", "/dev/std"})
    if (path.starts_with(own)) return {};
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return {};
  if (S_ISFIFO(status.st_mode)) return "a FIFO";
  if (S_ISSOCK(status.st_mode)) return "a socket";
  const bool device = S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode);
  return device && !in_every_guest(status.st_rdev) ? "a device" : "";
}

// The file itself, with all links on the way followed.
bool is_hidden(const ExportPolicy& policy, const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);  // ENOENT, mostly: it is no path
  struct statx status;
  if (error || stat_at(AT_FDCWD, real.c_str(), status) != 0) return false;
  return policy.kept(id_of(status)) == Kept::hidden || policy.kept_path(real.string()) == Kept::hidden;
}

// Each argument as it is, and what follows a "=" in it, until `stop` says so.
template <class Stop>
void each_name(const std::vector<std::string>& argv, std::size_t from, const Stop& stop) {
  for (std::size_t i = from; i < std::min(argv.size(), max_arguments); ++i) {
    const auto value = argv[i].find('=');
    if (!argv[i].empty() && stop(argv[i])) return;
    if (value == std::string::npos || value + 1 == argv[i].size()) continue;
    if (stop(argv[i].substr(value + 1))) return;
  }
}

}  // namespace

std::string special_argument(const std::string& cwd, const std::vector<std::string>& argv) {
  std::string found;
  each_name(argv, 1, [&](const std::string& name) {
    if (const auto kind = kind_of(cwd, name); !kind.empty()) found = name + " is " + kind;
    return !found.empty();
  });
  return found;
}

std::string hidden_argument(const ExportPolicy& policy, const std::string& cwd,
                            const std::vector<std::string>& argv) {
  std::string found;
  each_name(argv, 0, [&](const std::string& name) {
    const auto path = name[0] == '/' ? name : cwd + "/" + name;
    if (is_hidden(policy, path)) found = path;
    return !found.empty();
  });
  return found;
}

}  // namespace ssi
