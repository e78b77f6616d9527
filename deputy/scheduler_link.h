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
  using Queued = std::function<void(std::uint32_t before)>;  // it waits, behind so many
  struct Events {
    std::function<void()> up;     // the link is; perhaps to another life of the scheduler
    std::function<void()> ready;  // it answered probe(): it knows a guest
  };

  static Result<std::unique_ptr<SchedulerLink>> connect(Loop& loop, const SchedulerAddress& scheduler,
                                                        const Identity& self, Events events);

  // Calls back once: with the verdict (never Verdict::wait), or with an error when the scheduler did not acknowledge
  // within 300 ms, is known to be unreachable, or was lost. `question.request` is unique among all questions.
  void place(const wire::Place& question, Answer answer, Queued queued);
  void cancel(std::uint64_t request);
  // It may be back, and the next try to connect by itself later than the deadline of a question.
  void redial_if_down();
  void send(const wire::Control& message) { client_->send(message); }
  void probe();

  // It is worth to be asked before others that are not.
  bool seems_alive() const { return client_->link() != ControlClient::Link::down && !silent_; }

 private:
  struct Question {
    Answer answer;
    Queued queued;
    std::unique_ptr<Timer> deadline;
  };
  SchedulerLink(Loop& loop, SchedulerAddress scheduler, const Identity& self, Events events)
      : loop_(loop), scheduler_(std::move(scheduler)), self_(self), events_(std::move(events)) {}
  Status dial();
  void forget(std::uint64_t request);
  void take(wire::Control&& message);
  void take(wire::Placed&& placed);
  void settle(std::uint64_t request, Result<wire::Placed> answer);
  void link_changed(ControlClient::Link link, const std::string& why);

  Loop& loop_;
  const SchedulerAddress scheduler_;
  const Identity& self_;
  Events events_;
  std::unique_ptr<ControlClient> client_;
  std::unordered_map<std::uint64_t, Question> questions_;
  bool silent_ = false;  // it has not acknowledged, and nothing was heard of it since
};

}  // namespace ssi
