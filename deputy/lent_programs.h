// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job runs to begin with (its program, the dynamic loader) is opened at home for it before it starts, so that its guest need not
// ask at execve(2). Which files that are is learned from earlier jobs of the session with the same program. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/wire.h"

namespace ssi {

class LentPrograms {
 public:
  static constexpr std::size_t most_files = 4;      // of one program; what it runs later is not known to be run each time
  static constexpr std::size_t most_programs = 1000;  // then all is learned anew

  // A job is about to start. Returns the nodes that the last one of this program has run.
  std::vector<std::uint64_t> begin(std::uint64_t job, const std::string& program) {
    if (learned_.size() >= most_programs) learned_.clear();
    starting_[job].program = program;
    return learned_[program];
  }

  // A handle that no guest has chosen, under which the node is opened for the job.
  std::uint64_t lend(std::uint64_t job, std::uint64_t node) {
    const auto handle = wire::homes_handles | ++handles_ << 1;
    starting_[job].lent.push_back({node, handle});
    return handle;
  }

  // The guest has asked for a node, to run it. `job`: whose task it was; 0: not known, or the only one.
  void ran(std::uint64_t job, std::uint64_t node) {
    const auto found = job == 0 && starting_.size() == 1 ? starting_.begin() : starting_.find(job);
    if (found == starting_.end()) return;
    auto& nodes = learned_[found->second.program];
    if (nodes.size() < most_files && std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
  }

  // It is not what the program runs any more, as far as is known.
  void unlearn(const std::string& program, std::uint64_t node) { std::erase(learned_[program], node); }

  // The guest uses this handle: it is the guest's to give back. False: it is none that was lent.
  bool claim(std::uint64_t handle) {
    for (auto& [job, starting] : starting_)
      if (std::erase_if(starting.lent, [&](const wire::Lent& lent) { return lent.handle == handle; }) != 0) return true;
    return false;
  }

  // The job has started, or will not. Returns what was lent in vain: it is to be closed, and not lent again.
  std::vector<wire::Lent> end(std::uint64_t job) {
    const auto found = starting_.find(job);
    if (found == starting_.end()) return {};
    const auto starting = std::move(found->second);
    starting_.erase(found);
    for (const auto& lent : starting.lent) unlearn(starting.program, lent.node);
    return starting.lent;
  }

 private:
  struct Starting {
    std::string program;
    std::vector<wire::Lent> lent;  // and not used yet
  };

  std::unordered_map<std::string, std::vector<std::uint64_t>> learned_;  // by program
  std::unordered_map<std::uint64_t, Starting> starting_;                 // by job
  std::uint64_t handles_ = 0;
};

}  // namespace ssi
