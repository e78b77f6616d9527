// SPDX-License-Identifier: LGPL-2.1-or-later
// Asks the stem in which system call a task waits: /proc/PID/syscall shows itself to who may trace the task, and in its
// user namespace only the stem may always.
#pragma once

#include <sys/types.h>

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agent/stem_channel.h"
#include "common/fd.h"
#include "common/loop.h"

namespace ssi {

class TaskCalls {
 public:
  explicit TaskCalls(Loop& loop) : loop_(loop) {}

  // Calls back once, with what that file says, or nothing.
  void ask(StemChannel& stem, pid_t task, std::function<void(const std::string&)> then);

 private:
  struct Question {
    Fd answer;
    std::function<void(const std::string&)> then;
    std::unique_ptr<Poll> poll;
  };
  Loop& loop_;
  std::list<Question> questions_;
};

}  // namespace ssi
