// SPDX-License-Identifier: LGPL-2.1-or-later
// Notices that ssirun has been stopped by SIGSTOP, of which a process cannot tell anybody itself.
#pragma once

#include <sys/types.h>

#include <functional>

#include "common/loop.h"

namespace ssi {

class StopWatch {
 public:
  // `stopped(group)` within 100 ms: `group` when the whole process group was, to which `witness` belongs too (0: unknown).
  StopWatch(Loop& loop, pid_t caller, std::function<void(bool group)> stopped);
  void witness(pid_t pid) { witness_ = pid; }

 private:
  void look();

  Timer timer_;
  const pid_t caller_;
  pid_t witness_ = 0;
  std::function<void(bool)> stopped_;
  bool was_stopped_ = false;
};

}  // namespace ssi
