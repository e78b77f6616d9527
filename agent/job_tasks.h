// SPDX-License-Identifier: LGPL-2.1-or-later
// Which job a task is of. Asked at every request of the view's: with one job there is nothing to find out, and with several
// what was found in /proc is remembered for a while.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <unordered_map>

namespace ssi {

class JobTasks {
 public:
  static constexpr std::uint64_t remembered_ms = 1000;  // a task's pid is not another's so soon

  // `init_of`: a task's first ancestor in its job, 0: none. See agent/task_call.h.
  explicit JobTasks(std::function<pid_t(pid_t task)> init_of) : init_of_(std::move(init_of)) {}

  void began(std::uint64_t job) { inits_.emplace(job, 0); }
  void has_init(std::uint64_t job, pid_t init);
  void over(std::uint64_t job);  // its tasks may take a moment to die

  // 0: not known. `now`: ms, of any clock that only goes forward.
  std::uint64_t job_of(pid_t task, std::uint64_t now);

 private:
  std::uint64_t job_with(pid_t init) const;

  struct Found {
    std::uint64_t job, until;
  };
  std::function<pid_t(pid_t task)> init_of_;
  std::unordered_map<std::uint64_t, pid_t> inits_;  // by job; 0: not known yet
  std::unordered_map<pid_t, std::uint64_t> dying_;  // jobs that are over, by first process
  std::unordered_map<pid_t, Found> found_;          // by task
};

}  // namespace ssi
