// SPDX-License-Identifier: LGPL-2.1-or-later
// The pool's processes: started so that none is ever lost, ended so that no stranger is ever killed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

// A process as it can be named in a file: the kernel reuses a pid, but not together with its start time.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;  // clock ticks since boot: field 22 of /proc/PID/stat, proc(5)
};

// Field 22 of a line of /proc/PID/stat; 0 when it is not such a line.
std::uint64_t start_in_stat(const std::string& line);

// A pidfd of that very process; empty when it has ended.
Fd open_process(const ProcessId& id);
bool is_running(const ProcessId& id);

// SIGTERM to all, again after `grace_ms`, SIGKILL to those that are left after as much again. Returns when all have
// ended; an error names the one that has not after a further 5 s.
Status end_processes(const std::vector<ProcessId>& ids, int grace_ms);

// A child that has been made but does nothing yet. Until release() it ends by itself when its parent is gone,
// so that it can be written down first.
class HeldChild {
 public:
  // `body` runs in the child after release(); it ends in an exec, and returns only what went wrong.
  // `namespaces`: CLONE_NEW…. The child leads a session of its own, with default signals and none blocked.
  static Result<HeldChild> make(std::uint64_t namespaces, std::function<Status()> body);

  const ProcessId& id() const { return id_; }
  Status release();  // returns after the exec, or with body's error

 private:
  ProcessId id_;
  Fd go_, error_;
};

// The end of such a body: becomes `argv` with nothing of the parent's but `log` as stdout and stderr. Source:
// execve(2).
Status exec_daemon(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                   const Fd& log);

}  // namespace ssi
