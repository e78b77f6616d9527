// SPDX-License-Identifier: LGPL-2.1-or-later
// Whom it concerns when home refuses a page of a shared mapping: the kernel writes it back at munmap(2) and exit(2), which
// report nothing, and does not say for whom. So it is remembered which tasks have opened what for writing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace ssi {

// A change that home refused when nobody waited for the answer any more.
struct LateError {
  std::vector<pid_t> tasks;  // that opened the file for writing; some may be gone
  std::string path;          // in its file system, from the root of that
  int error = 0;
  std::uint64_t job = 0;  // whose change it was; 0: go by the tasks
};

class Writers {
 public:
  void opened(std::uint64_t node, std::uint64_t handle, pid_t task) { tasks_[node][handle] = task; }
  void released(std::uint64_t node, std::uint64_t handle);
  std::vector<pid_t> of(std::uint64_t node) const;

 private:
  std::unordered_map<std::uint64_t, std::unordered_map<std::uint64_t, pid_t>> tasks_;  // by node, by handle
};

}  // namespace ssi
