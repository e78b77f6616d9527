// SPDX-License-Identifier: LGPL-2.1-or-later
// What falls home takes a slot, as many as there are processors: a dead scheduler never starts a hundred encodes at once.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>

#include "common/fd.h"
#include "common/loop.h"

namespace ssi {

class HomeSlots {
 public:
  // A process that wants to run, and what it reads from and writes to (inodes of pipes and sockets; 0: something else).
  struct Candidate {
    pid_t pid = 0;
    std::array<ino_t, 3> stdio{};
  };

  // Nobody waits longer: what a slot's holder itself waits for is not always to be seen.
  static constexpr std::uint64_t patience_ms = 10'000;

  HomeSlots(Loop& loop, std::size_t slots, std::uint64_t patience = patience_ms)
      : loop_(loop), slots_(slots), patience_(patience) {}

  // Calls `go` when the process may run at home: now, or when a slot is free. The slot is held until the process ends.
  // One whose ancestor holds a slot does not wait, since its ancestor waits for it; nor one that is the other end of a
  // holder's pipe. `ended` is called when the process has.
  void take(
      const Candidate& candidate, std::function<void()> go, std::function<void()> ended = [] {});
  std::size_t held() const { return holders_.size(); }
  bool would_wait(const Candidate& who) const { return holders_.size() >= slots_ && !must_not_wait(who); }
  std::size_t wanted() const { return holders_.size() + waiting_.size(); }  // held, or waited for
  std::size_t unshown() const;  // of those, what the machine's load does not show: it waits, or began within the last second

  // The stdio of a candidate from its descriptors.
  static std::array<ino_t, 3> pipes(const std::array<int, 3>& stdio);

 private:
  struct Holder {
    Candidate who;
    std::function<void()> ended;
    std::uint64_t since;  // loop time, ms
    Fd process;  // pidfd: readable when it has ended
    std::unique_ptr<Poll> poll;
  };
  struct Waiter {
    Candidate who;
    std::function<void()> go, ended;
    std::unique_ptr<Timer> patience;
  };
  void hold(const Candidate& who, std::function<void()> ended);
  void next();
  bool must_not_wait(const Candidate& who) const;

  Loop& loop_;
  const std::size_t slots_;
  const std::uint64_t patience_;
  std::list<Holder> holders_;
  std::list<Waiter> waiting_;
};

}  // namespace ssi
