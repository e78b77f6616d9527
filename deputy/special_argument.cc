// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/special_argument.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

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

}  // namespace

std::string special_argument(const std::string& cwd, const std::vector<std::string>& argv) {
  for (std::size_t i = 1; i < std::min(argv.size(), max_arguments); ++i) {
    const auto value = argv[i].find('=');
    for (const auto& name :
         {argv[i], value == std::string::npos ? std::string() : argv[i].substr(value + 1)}) {
      if (name.empty()) continue;
      if (const auto kind = kind_of(cwd, name); !kind.empty()) return name + " is " + kind;
    }
  }
  return {};
}

}  // namespace ssi
