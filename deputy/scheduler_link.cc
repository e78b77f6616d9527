// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/scheduler_link.h"

#include <algorithm>
#include <vector>

#include "common/log.h"

namespace ssi {
namespace {

constexpr std::uint64_t answer_ms = 2'000;  // from the acknowledgement to the verdict, unless it is to wait

}  // namespace

Result<std::unique_ptr<SchedulerLink>> SchedulerLink::connect(Loop& loop, const SchedulerAddress& scheduler,
                                                              const Identity& self, Events events) {
  if (scheduler.key.empty())
    return failure("the public key of the scheduler at " + scheduler.address +
                   " is not known; set scheduler_key in config.toml");
  std::unique_ptr<SchedulerLink> link(new SchedulerLink(loop, scheduler, self, std::move(events)));
  if (auto dialled = link->dial(); !dialled) return tl::make_unexpected(dialled.error());
  return link;
}

Status SchedulerLink::dial() {
  auto client = ControlClient::connect(
      loop_, scheduler_.address, scheduler_.key, self_,
      {[this](wire::Control&& message) { take(std::move(message)); },
       [this](ControlClient::Link state, const std::string& why) { link_changed(state, why); }});
  if (!client) return tl::make_unexpected(client.error());
  client_ = std::move(*client);
  return {};
}

void SchedulerLink::place(const wire::Place& question, Answer answer, Queued queued) {
  const auto request = question.request;
  auto& pending = questions_[request];
  pending = {std::move(answer), std::move(queued), std::make_unique<Timer>(loop_)};
  pending.deadline->once(acknowledge_ms, [this, request] {
    silent_ = true;
    forget(request);
    settle(request, failure("the scheduler at " + scheduler_.address + " did not acknowledge within 300 ms"));
  });
  client_->send(question);
}

void SchedulerLink::cancel(std::uint64_t request) {
  if (questions_.erase(request)) forget(request);
}

// Behind the question: one that was stopped and goes on shall not keep it in its queue.
void SchedulerLink::forget(std::uint64_t request) {
  client_->send(wire::JobEnded{0, 0, request});
}

void SchedulerLink::redial_if_down() {
  if (client_->link() == ControlClient::Link::down) (void)dial();
}

void SchedulerLink::probe() {
  if (client_->link() == ControlClient::Link::up) client_->send(wire::StatusRequest{});
}

void SchedulerLink::settle(std::uint64_t request, Result<wire::Placed> answer) {
  auto node = questions_.extract(request);
  if (node) node.mapped().answer(std::move(answer));
}

void SchedulerLink::take(wire::Control&& message) {
  silent_ = false;
  if (const auto* taken = std::get_if<wire::PlaceTaken>(&message)) {
    const auto found = questions_.find(taken->request);
    if (found == questions_.end()) return;
    found->second.deadline->once(answer_ms, [this, request = taken->request] {
      settle(request, failure("the scheduler at " + scheduler_.address + " gave no answer"));
    });
  } else if (auto* placed = std::get_if<wire::Placed>(&message)) {
    take(std::move(*placed));
  } else if (const auto* queued = std::get_if<wire::Queued>(&message)) {
    if (const auto found = questions_.find(queued->request); found != questions_.end())
      found->second.queued(queued->before);
  } else if (const auto* refused = std::get_if<wire::Refused>(&message)) {
    settle(refused->request, failure(refused->reason));
  } else if (const auto* status = std::get_if<wire::StatusReply>(&message)) {
    if (std::ranges::any_of(status->guests, [](const auto& guest) { return guest.state != "gone"; }))
      events_.ready();
  }
}

void SchedulerLink::take(wire::Placed&& placed) {
  const auto found = questions_.find(placed.request);
  if (found == questions_.end()) {  // nobody waits for it any more
    if (placed.job != 0)
      client_->send(wire::JobEnded{placed.job, 0});
    else if (placed.verdict == static_cast<std::uint8_t>(wire::Verdict::wait))
      forget(placed.request);
  } else if (placed.verdict == static_cast<std::uint8_t>(wire::Verdict::wait)) {
    found->second.deadline->stop();
    found->second.queued(placed.before);
  } else {
    settle(placed.request, std::move(placed));
  }
}

// Who waits for an acknowledgement need not wait out the deadline when the link is known to be down; who is queued there is
// in no queue any more.
void SchedulerLink::link_changed(ControlClient::Link state, const std::string& why) {
  if (state == ControlClient::Link::up) {
    silent_ = false;
    return events_.up();
  }
  if (state != ControlClient::Link::down) return;
  log::debug("no scheduler at {}: {}", scheduler_.address, why);
  std::vector<std::uint64_t> waiting;
  for (const auto& [request, question] : questions_) waiting.push_back(request);
  for (const auto request : waiting)
    settle(request, failure("no scheduler at " + scheduler_.address + ": " + why));
}

}  // namespace ssi
