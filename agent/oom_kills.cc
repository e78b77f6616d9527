// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/oom_kills.h"

#include <unistd.h>

#include <fstream>

namespace ssi {
namespace {

// The root cgroup has no memory.events.
std::string counter_of(pid_t process) {
  std::ifstream groups("/proc/" + std::to_string(process) + "/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;
    auto events = "/sys/fs/cgroup" + line.substr(3) + "/memory.events";
    if (::access(events.c_str(), R_OK) == 0) return events;
  }
  return "/proc/vmstat";
}

}  // namespace

OomKills::OomKills(pid_t process) : OomKills(counter_of(process)) {}
OomKills::OomKills(std::string file) : file_(std::move(file)), before_(count()) {}

bool OomKills::any() const {
  return count() > before_;
}

std::uint64_t OomKills::count() const {
  std::ifstream counters(file_);
  std::string name;
  for (std::uint64_t number = 0; counters >> name >> number;)
    if (name == "oom_kill") return number;
  return 0;
}

}  // namespace ssi
