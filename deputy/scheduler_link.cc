// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/scheduler_link.h"

#include <vector>

#include "common/log.h"

namespace ssi {
namespace {

constexpr std::uint64_t answer_ms = 2'000;  // from the acknowledgement to the verdict, unless it is to wait

}  // namespace

Result<std::unique_ptr<SchedulerLink>> SchedulerLink::connect(Loop& loop, const SchedulerAddress& scheduler,
                                                              const Identity& self) {
  if (scheduler.key.empty())
    return failure("the public key of the scheduler at " + scheduler.address +
                   " is not known; set scheduler_key in config.toml");
  std::unique_ptr<SchedulerLink> link(new SchedulerLink(loop, scheduler, self));
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

std::uint64_t SchedulerLink::place(wire::Place question, Answer answer, std::function<void()> waiting) {
  const auto request = next_++;
  question.request = request;
  auto& pending = questions_[request];
  pending = {std::move(answer), std::move(waiting), std::make_unique<Timer>(loop_), false};
  // It may be back, and the client's own next try later than our deadline.
  if (client_->link() == ControlClient::Link::down) (void)dial();
  pending.deadline->once(acknowledge_ms, [this, request] {
    settle(request, failure("the scheduler at " + scheduler_.address + " did not acknowledge within 300 ms"));
  });
  client_->send(question);
  return request;
}

void SchedulerLink::cancel(std::uint64_t request) {
  questions_.erase(request);
}

void SchedulerLink::ended(std::uint64_t job, double cpu_seconds) {
  client_->send(wire::JobEnded{job, cpu_seconds});
}

void SchedulerLink::settle(std::uint64_t request, Result<wire::Placed> answer) {
  auto node = questions_.extract(request);
  if (node) node.mapped().answer(std::move(answer));
}

void SchedulerLink::take(wire::Control&& message) {
  if (const auto* taken = std::get_if<wire::PlaceTaken>(&message)) {
    const auto found = questions_.find(taken->request);
    if (found == questions_.end()) return;
    found->second.acknowledged = true;
    found->second.deadline->once(answer_ms, [this, request = taken->request] {
      settle(request, failure("the scheduler at " + scheduler_.address + " gave no answer"));
    });
  } else if (auto* placed = std::get_if<wire::Placed>(&message)) {
    const auto found = questions_.find(placed->request);
    if (found == questions_.end()) {
      if (placed->job != 0) ended(placed->job, 0);  // nobody waits for it any more
    } else if (placed->verdict == static_cast<std::uint8_t>(wire::Verdict::wait)) {
      found->second.deadline->stop();
      if (found->second.waiting) found->second.waiting();
    } else {
      settle(placed->request, std::move(*placed));
    }
  } else if (const auto* refused = std::get_if<wire::Refused>(&message)) {
    settle(refused->request, failure(refused->reason));
  }
}

// Who waits for an acknowledgement need not wait out the deadline when the link is known to be down.
void SchedulerLink::link_changed(ControlClient::Link state, const std::string& why) {
  if (state != ControlClient::Link::down) return;
  log::debug("no scheduler at {}: {}", scheduler_.address, why);
  std::vector<std::uint64_t> waiting;
  for (const auto& [request, question] : questions_) waiting.push_back(request);
  for (const auto request : waiting)
    settle(request, failure("no scheduler at " + scheduler_.address + ": " + why));
}

}  // namespace ssi
