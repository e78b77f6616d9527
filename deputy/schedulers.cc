// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/schedulers.h"

#include <sys/random.h>

#include <algorithm>

namespace ssi {
namespace {

constexpr std::uint64_t again_ms = 500, probe_ms = 2'000;
constexpr std::size_t max_told = 1'000;  // a message's list holds 1024

}  // namespace

// Numbers are never those of another deputy's, or an earlier one's, of this key: a scheduler tells questions by them.
Schedulers::Schedulers(Loop& loop) : loop_(loop) {
  if (::getrandom(&next_id_, sizeof next_id_, 0) != sizeof next_id_) next_id_ = uv_hrtime();
  next_id_ |= 1;
}

Result<std::unique_ptr<Schedulers>> Schedulers::connect(Loop& loop, const SchedulerList& list,
                                                        const Identity& self) {
  std::unique_ptr<Schedulers> made(new Schedulers(loop));
  made->members_.resize(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto link = SchedulerLink::connect(loop, list[i], self,
                                       {[us = made.get(), i] {
                                          us->members_[i].knows.clear();
                                          us->tell_holding(us->members_[i]);
                                        },
                                        [us = made.get(), i] { us->current_ = std::min(us->current_, i); }});
    if (!link) return tl::make_unexpected(link.error());
    made->members_[i].link = std::move(*link);
  }
  return made;
}

std::uint64_t Schedulers::place(wire::Place question, Answer answer, Queued queued) {
  const auto id = next_id_;
  next_id_ += 2;  // never 0
  question.request = id;
  auto& asked = questions_[id];
  asked.place = std::move(question);
  asked.answer = std::move(answer);
  asked.queued = std::move(queued);
  probe_preferred();
  ask(id);
  return id;
}

// Beginning with the one that answered last, those that seem alive; if none does, one of the others.
std::optional<std::size_t> Schedulers::next(const Question& question) const {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const auto member = (current_ + i) % members_.size();
    if (members_[member].link->seems_alive() && !question.tried.contains(member)) return member;
  }
  if (question.tried.empty()) return current_;
  return std::nullopt;
}

void Schedulers::ask(std::uint64_t id) {
  auto& question = questions_.at(id);
  question.asked = next(question).value_or(current_);
  question.was_current = current_;
  question.tried.insert(question.asked);
  if (question.waits_since) question.place.waited_ms = uv_now(loop_.uv()) - *question.waits_since;
  auto& member = members_[question.asked];
  member.link->redial_if_down();  // before anything is said, or it would be said to the old connection
  tell_holding(member);
  member.link->place(
      question.place, [this, id](Result<wire::Placed> answer) { answered(id, std::move(answer)); },
      [this, id](std::uint32_t before) {
        auto& waiting = questions_.at(id);
        if (!waiting.waits_since) waiting.waits_since = uv_now(loop_.uv());
        waiting.lost_at = 0;
        answers(waiting);
        const auto tell = waiting.queued;  // it may cancel the question
        tell(before);
      });
}

// A preferred one may have come back since it was asked.
void Schedulers::answers(const Question& question) {
  if (current_ == question.was_current) current_ = question.asked;
}

void Schedulers::answered(std::uint64_t id, Result<wire::Placed> answer) {
  if (!answer) return failed(id, answer.error());
  const auto node = questions_.extract(id);
  const auto& question = node.mapped();
  answers(question);
  if (answer->job != 0) {
    held_[answer->job] = {answer->job, answer->guest_key, question.place.cpus, question.place.memory};
    members_[question.asked].knows.insert(answer->job);
  }
  question.answer(std::move(answer));
}

// The next one is asked. Who waited for a guest waits for a scheduler too.
void Schedulers::failed(std::uint64_t id, const Error& why) {
  auto& question = questions_.at(id);
  if (!question.why) question.why = why;
  if (next(question)) return ask(id);
  const auto now = uv_now(loop_.uv());
  if (question.waits_since && question.lost_at == 0) question.lost_at = now;
  if (!question.waits_since || now - question.lost_at >= return_ms) {
    const auto node = questions_.extract(id);
    return node.mapped().answer(tl::make_unexpected(*node.mapped().why));
  }
  question.tried.clear();
  question.why.reset();
  if (!question.again) question.again = std::make_unique<Timer>(loop_);
  question.again->once(again_ms, [this, id] { ask(id); });
}

void Schedulers::cancel(std::uint64_t id) {
  const auto node = questions_.extract(id);
  if (node) members_[node.mapped().asked].link->cancel(id);
}

void Schedulers::ended(std::uint64_t job, double cpu_seconds) {
  held_.erase(job);
  for (auto& member : members_)
    if (member.knows.erase(job)) member.link->send(wire::JobEnded{job, cpu_seconds});
}

// By one that knows where the job is.
void Schedulers::call_back(const wire::Callback& callback) {
  auto* chosen = &members_[current_];
  for (auto& member : members_)
    if (member.knows.contains(callback.job) && member.link->seems_alive()) chosen = &member;
  tell_holding(*chosen);
  chosen->link->send(callback);
}

void Schedulers::tell_holding(Member& member) {
  wire::Holding holding;
  for (const auto& [number, job] : held_)
    if (holding.jobs.size() < max_told && member.knows.insert(number).second) holding.jobs.push_back(job);
  if (!holding.jobs.empty()) member.link->send(holding);
}

void Schedulers::probe_preferred() {
  const auto now = uv_now(loop_.uv());
  if (current_ == 0 || now - probed_ < probe_ms) return;
  probed_ = now;
  for (std::size_t i = 0; i < current_; ++i) members_[i].link->probe();
}

}  // namespace ssi
