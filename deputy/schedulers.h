// SPDX-License-Identifier: LGPL-2.1-or-later
// The schedulers of one list, each of which knows the pool by itself. The first is asked while it answers; the next one
// takes its place when it does not, and gives it back. None of them needs to remember anything: what they have to know of
// this home's jobs they are told.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/config.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/wire.h"
#include "deputy/scheduler_link.h"

namespace ssi {

class Schedulers {
 public:
  static constexpr std::uint64_t return_ms =
      60'000;  // for a scheduler to come back, for jobs that it had queued
  using Answer = SchedulerLink::Answer;
  using Queued = SchedulerLink::Queued;

  // `list` is not empty.
  static Result<std::unique_ptr<Schedulers>> connect(Loop& loop, const SchedulerList& list,
                                                     const Identity& self);

  // Calls back once: with the verdict (never Verdict::wait), or with the first one's error when none acknowledged. `queued`
  // is called when the job waits, and whenever its place in the queue has changed. A job that waits goes on doing so at
  // the next scheduler, or when its own is back. The number it returns is for cancel().
  std::uint64_t place(wire::Place question, Answer answer, Queued queued);
  void cancel(std::uint64_t question);
  void ended(std::uint64_t job, double cpu_seconds);
  void call_back(const wire::Callback& callback);

 private:
  struct Member {
    std::unique_ptr<SchedulerLink> link;
    std::set<std::uint64_t> knows;  // jobs that it has placed, or was told of
  };
  struct Question {
    wire::Place place;
    Answer answer;
    Queued queued;
    std::set<std::size_t> tried;
    std::size_t asked = 0;        // the member that has it now
    std::size_t was_current = 0;  // when it was asked
    std::optional<Error> why;
    std::optional<std::uint64_t> waits_since;  // loop time, ms
    std::uint64_t lost_at = 0;                 // its queue; 0: it is in one, or never was
    std::unique_ptr<Timer> again;
  };

  Schedulers(Loop& loop);
  void ask(std::uint64_t id);
  std::optional<std::size_t> next(const Question& question) const;
  void answers(const Question& question);
  void answered(std::uint64_t id, Result<wire::Placed> answer);
  void failed(std::uint64_t id, const Error& why);
  void tell_holding(Member& member);
  void probe_preferred();

  Loop& loop_;
  std::vector<Member> members_;
  std::size_t current_ = 0;                      // the one that answered last
  std::uint64_t probed_ = 0;                     // loop time, ms
  std::map<std::uint64_t, wire::HeldJob> held_;  // placed and not ended
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t next_id_;
};

}  // namespace ssi
