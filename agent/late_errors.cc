// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/late_errors.h"

namespace ssi {

void Writers::released(std::uint64_t node, std::uint64_t handle) {
  const auto found = tasks_.find(node);
  if (found == tasks_.end()) return;
  found->second.erase(handle);
  if (found->second.empty()) tasks_.erase(found);
}

std::vector<pid_t> Writers::of(std::uint64_t node) const {
  std::vector<pid_t> all;
  if (const auto found = tasks_.find(node); found != tasks_.end())
    for (const auto& [handle, task] : found->second) all.push_back(task);
  return all;
}

}  // namespace ssi
