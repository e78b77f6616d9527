// SPDX-License-Identifier: LGPL-2.1-or-later
// A job's leader between clone(2) and execve(2). It runs on the memory of the job's init, as after vfork(2), so that no page
// is copied; but init goes on meanwhile, since an execve may wait for home for long. So what it needs is laid out before, and
// it does nothing but system calls: no allocation, no errno, no lock, which would be init's too.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "agent/job_descriptors.h"
#include "agent/job_spec.h"

namespace ssi {

class JobLeader {
 public:
  // `terminal`: the slave, or -1. `result`: the end of a pipe that execve closes, and that gets the errno of what failed.
  // This and `spec` must outlive the execve.
  JobLeader(JobSpec& spec, const std::vector<Held>& held, int terminal, int result);

  // In process group `group`; 0: one of its own. Returns the pid, or -errno.
  pid_t start(pid_t group);

 private:
  static int run(void* self);
  int become() const;
  void enter_group() const;
  void place_descriptors(int keep);

  const JobSpec& spec_;
  std::vector<char*> arguments_, environment_;
  struct Descriptor {
    int number, from;
  };
  std::vector<Descriptor> descriptors_;  // by number
  int above_;                            // the first number above them
  int terminal_, result_;
  pid_t group_ = 0;
  std::unique_ptr<char[]> stack_;
};

// A process group in the caller's session whose leader has ended already, for a member that does not lead it, as the command at
// home did not: it lasts until that one is reaped, and then as long as it has members. Returns its number, or -errno.
pid_t make_group();

}  // namespace ssi
