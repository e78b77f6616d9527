// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_tasks.h"

#include <signal.h>

#include <cerrno>

namespace ssi {
namespace {

constexpr std::size_t most_found = 4096;

// Also of a zombie, and then no other process of its pid namespace is left; but soon it is reaped.
bool exists(pid_t process) {
  return ::kill(process, 0) == 0 || errno == EPERM;
}

}  // namespace

void JobTasks::has_init(std::uint64_t job, pid_t init) {
  const auto known = inits_.find(job);
  if (known != inits_.end()) known->second = init;
}

void JobTasks::over(std::uint64_t job) {
  const auto known = inits_.extract(job);
  if (known && known.mapped() != 0) dying_[known.mapped()] = job;
  found_.clear();
}

std::uint64_t JobTasks::job_of(pid_t task, std::uint64_t now) {
  std::erase_if(dying_, [](const auto& each) { return !exists(each.first); });
  if (inits_.size() == 1 && dying_.empty()) return inits_.begin()->first;
  if (task <= 0) return 0;
  const auto found = found_.find(task);
  if (found != found_.end() && now < found->second.until) return found->second.job;
  if (found_.size() >= most_found) found_.clear();
  const auto init = init_of_(task);
  const auto job = init == 0 ? 0 : job_with(init);
  if (job != 0) found_[task] = {job, now + remembered_ms};
  return job;
}

// One that is not known is that of the job that has not said anything yet, if there is only one.
std::uint64_t JobTasks::job_with(pid_t init) const {
  if (const auto dies = dying_.find(init); dies != dying_.end()) return dies->second;
  std::uint64_t silent = 0;
  bool several = false;
  for (const auto& [job, first] : inits_) {
    if (first == init) return job;
    if (first != 0) continue;
    several = silent != 0;
    silent = job;
  }
  return several ? 0 : silent;
}

}  // namespace ssi
