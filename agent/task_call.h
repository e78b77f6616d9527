// SPDX-License-Identifier: LGPL-2.1-or-later
// In which system call a task waits, and in which job: from what proc(5) says of it. A FUSE server is told of the path
// that a task walks and not why; but while it waits for our answer, this can be found out.
#pragma once

#include <sys/types.h>

#include <string_view>

namespace ssi {

enum class Call {
  other,
  opens,     // what the path leads to, such that a FIFO would be opened
  connects,  // or sends to the Unix socket there
  unsure     // the task does not sleep yet
};

// From /proc/PID/syscall. Of programs of another architecture (32 bits) the numbers mean nothing: other.
Call call_of(std::string_view syscall);

// From /proc/PID/status.
struct Place {
  pid_t parent = 0;
  std::size_t depth = 0;  // how many pids it has, from here inwards
  pid_t inner = 0;        // the innermost of them
};
Place place_of(std::string_view status);

// The first process (in our pid namespace's numbers) of the job that the task belongs to: orphans are its children. 0: it
// belongs to none, or is gone.
pid_t init_of(pid_t task);

}  // namespace ssi
