// SPDX-License-Identifier: LGPL-2.1-or-later
// One question to the scheduler: which guests are there, or which jobs?
#pragma once

#include <functional>

#include "cli/key.h"
#include "common/config.h"
#include "common/identity.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

// The schedulers that this user's configuration and environment name, at least one, with their keys; an error that tells
// the cure when there is none.
Result<SchedulerList> known_schedulers();

// Of these the first that answers within a second; when there is one only, that one, unasked.
Result<SchedulerAddress> known_scheduler();

// Asks once. Ends with the scheduler's first answer (its refusal is an error), or with the reason why the link is
// down, or after `timeout_ms`.
Result<wire::Control> ask_scheduler(const SchedulerAddress& scheduler, const Identity& self,
                                    const wire::Control& question, int timeout_ms);

template <class Reply>
Result<Reply> ask(const SchedulerAddress& scheduler, const Identity& self, const wire::Control& question,
                  int timeout_ms) {
  auto answer = ask_scheduler(scheduler, self, question, timeout_ms);
  if (!answer) return tl::make_unexpected(answer.error());
  if (auto* reply = std::get_if<Reply>(&*answer)) return std::move(*reply);
  return failure("scheduler " + scheduler.address + ": an answer to another question");
}

// The same of the scheduler that is known here, as this user; 2 s.
template <class Reply>
Result<Reply> ask_known(const wire::Control& question) {
  const auto scheduler = known_scheduler();
  if (!scheduler) return tl::make_unexpected(scheduler.error());
  const auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  return ask<Reply>(*scheduler, *self, question, 2'000);
}

// The same of all that are known here, in turn: each decides by itself. Calls `reply` for each that answers; an error is that of
// the first that did not.
template <class Reply>
Status ask_all(const wire::Control& question, const std::function<void(const Reply&)>& reply) {
  const auto schedulers = known_schedulers();
  if (!schedulers) return tl::make_unexpected(schedulers.error());
  const auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  Status all;
  for (const auto& one : *schedulers) {
    const auto answer = ask<Reply>(one, *self, question, 2'000);
    if (answer) reply(*answer);
    if (!answer && all) all = tl::make_unexpected(answer.error());
  }
  return all;
}

// Asks again and again, over one connection and whatever becomes of the link, until `enough` says true or it
// returns an error, or `timeout_ms` have passed; then the error is why the link is down, or that there was no
// answer, if that is so.
Result<wire::StatusReply> watch_status(const SchedulerAddress& scheduler, const Identity& self,
                                       int timeout_ms,
                                       std::function<Result<bool>(const wire::StatusReply&)> enough,
                                       std::function<Status()> still_wanted);

}  // namespace ssi
