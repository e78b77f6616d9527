// SPDX-License-Identifier: LGPL-2.1-or-later
// What falls home takes a slot, as many as there are processors: a dead scheduler never starts a hundred encodes at once.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <memory>

#include "common/fd.h"
#include "common/loop.h"

namespace ssi {

class HomeSlots {
 public:
  HomeSlots(Loop& loop, std::size_t slots) : loop_(loop), slots_(slots) {}

  // Calls `go` when `pid` may run at home: now, or when a slot is free. The slot is held until the process ends. One
  // whose ancestor holds a slot does not wait: its ancestor waits for it.
  void take(pid_t pid, std::function<void()> go);
  std::size_t held() const { return holders_.size(); }

 private:
  struct Holder {
    pid_t pid;
    Fd process;  // pidfd: readable when it has ended
    std::unique_ptr<Poll> poll;
  };
  struct Waiter {
    pid_t pid;
    std::function<void()> go;
  };
  void hold(pid_t pid);
  void next();
  bool below_holder(pid_t pid) const;

  Loop& loop_;
  const std::size_t slots_;
  std::list<Holder> holders_;
  std::deque<Waiter> waiting_;
};

}  // namespace ssi
