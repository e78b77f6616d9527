// SPDX-License-Identifier: LGPL-2.1-or-later
// The deputy's link to one scheduler: asks where a job should run, within the design's deadlines.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/config.h"
#include "common/control_socket.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

class SchedulerLink {
 public:
  static constexpr std::uint64_t acknowledge_ms = 300;
  using Answer = std::function<void(Result<wire::Placed>)>;

  static Result<std::unique_ptr<SchedulerLink>> connect(Loop& loop, const SchedulerAddress& scheduler,
                                                        const Identity& self);

  // Calls back once: with the verdict (never Verdict::wait), or with an error when the scheduler did not acknowledge
  // within 300 ms or is known to be unreachable. `waiting` is called when the verdict is to wait. The number it
  // returns is for cancel().
  std::uint64_t place(wire::Place question, Answer answer, std::function<void()> waiting);
  void cancel(std::uint64_t request);
  void ended(std::uint64_t job, double cpu_seconds);
  void call_back(const wire::Callback& callback) { client_->send(callback); }

 private:
  struct Question {
    Answer answer;
    std::function<void()> waiting;
    std::unique_ptr<Timer> deadline;
    bool acknowledged = false;
  };
  SchedulerLink(Loop& loop, SchedulerAddress scheduler, const Identity& self)
      : loop_(loop), scheduler_(std::move(scheduler)), self_(self) {}
  Status dial();
  void take(wire::Control&& message);
  void settle(std::uint64_t request, Result<wire::Placed> answer);
  void link_changed(ControlClient::Link link, const std::string& why);

  Loop& loop_;
  const SchedulerAddress scheduler_;
  const Identity& self_;
  std::unique_ptr<ControlClient> client_;
  std::unordered_map<std::uint64_t, Question> questions_;
  std::uint64_t next_ = 1;
};

}  // namespace ssi
