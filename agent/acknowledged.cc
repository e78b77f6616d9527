// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/acknowledged.h"

#include <utility>

namespace ssi {
namespace {

void remove(std::unordered_map<std::uint64_t, std::set<std::uint64_t>>& from, std::uint64_t key, std::uint64_t number) {
  const auto found = from.find(key);
  if (found == from.end()) return;
  found->second.erase(number);
  if (found->second.empty()) from.erase(found);
}

}  // namespace

Acknowledged::Number Acknowledged::begin(Change change) {
  const auto number = ++last_;
  for (const auto node : change.nodes) nodes_[node].insert(number);
  jobs_[change.job].insert(number);
  if (!change.is_content) names_.insert(number);
  bytes_ += change.bytes;
  changes_.emplace(number, std::move(change));
  return number;
}

void Acknowledged::grow(Number number, std::size_t bytes) {
  changes_.at(number).bytes += bytes;
  bytes_ += bytes;
}

void Acknowledged::end(Number number) {
  const auto ended = changes_.extract(number);
  if (!ended) return;
  const auto& change = ended.mapped();
  for (const auto node : change.nodes) remove(nodes_, node, number);
  remove(jobs_, change.job, number);
  names_.erase(number);
  bytes_ -= change.bytes;
}

// What is called may begin changes, and wait for others.
void Acknowledged::go_on() {
  std::list<Waiting> ready;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto next = std::next(at);
    if (is_done(*at)) ready.splice(ready.end(), waiting_, at);
    at = next;
  }
  for (const auto& one : ready) one.f();
  while (!crowded_.empty() && bytes_ <= crowded_.front().bytes) {
    const auto f = std::move(crowded_.front().f);
    crowded_.pop_front();
    f();
  }
}

bool Acknowledged::is_done(const Waiting& waiting) const {
  const auto behind = [&](const Numbers& numbers) { return *numbers.begin() > waiting.last; };
  const auto done = [&](const auto& all, std::uint64_t key) {
    const auto found = all.find(key);
    return found == all.end() || behind(found->second);
  };
  if (waiting.node != 0) return done(nodes_, waiting.node);
  if (waiting.names && !names_.empty() && !behind(names_)) return false;
  if (waiting.job != 0) return done(jobs_, waiting.job) && done(jobs_, 0);
  return changes_.empty() || changes_.begin()->first > waiting.last;
}

void Acknowledged::wait(Waiting waiting) {
  if (is_done(waiting)) return waiting.f();
  waiting_.push_back(std::move(waiting));
  hurry_();
}

void Acknowledged::when_done_with(std::uint64_t node, std::function<void()> f) {
  wait({last_, node, 0, false, std::move(f)});
}

void Acknowledged::when_done_for(std::uint64_t job, std::function<void()> f) {
  wait({last_, 0, job, false, std::move(f)});
}

void Acknowledged::when_done_before(std::uint64_t job, std::function<void()> f) {
  wait({last_, 0, job, true, std::move(f)});
}

void Acknowledged::when_room(std::size_t bytes, std::function<void()> f) {
  if (has_room(bytes)) return f();
  crowded_.push_back({bytes, std::move(f)});
  hurry_();
}

}  // namespace ssi
