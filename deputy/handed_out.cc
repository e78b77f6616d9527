// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/handed_out.h"

#include <ctime>
#include <tuple>

namespace ssi {
namespace {

constexpr std::uint64_t believed_ns = HandedOut::believed_ms * 1'000'000;

// Kernels before 6.13 stamp files by a clock that ticks every 1 to 10 ms: two changes within a tick look like
// one.
constexpr std::int64_t tick_ns = 20'000'000;

std::uint64_t now_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

// Lets go of the oldest records; one that was renewed since has another time.
template <class Times, class Map>
void prune_older(Times& times, Map& map, std::uint64_t limit, std::size_t most) {
  for (; most > 0 && !times.empty() && times.front().first < limit; --most) {
    const auto found = map.find(times.front().second);
    if (found != map.end() && found->second.when == times.front().first) map.erase(found);
    times.pop_front();
  }
}

}  // namespace

void HandedOut::attr(std::uint64_t node, const wire::Attr& attr) {
  const auto when = now_ns(CLOCK_MONOTONIC);
  const auto wall = static_cast<std::int64_t>(now_ns(CLOCK_REALTIME));
  const auto former = nodes_.find(node);
  const bool other = former != nodes_.end() && !same_attr(former->second.attr, attr);
  nodes_[node] = {attr, attr.ctime > wall - tick_ns, other, when};
  node_times_.emplace_back(when, node);
  prune_some();
}

void HandedOut::name(std::uint64_t parent, const std::string& name, std::uint64_t node) {
  const auto when = now_ns(CLOCK_MONOTONIC);
  names_[{parent, name}] = {node, when};
  name_times_.emplace_back(when, Names::key_type{parent, name});
  prune_some();
}

// Two for each one that comes: it never grows beyond what is believed, and no request pays for all.
void HandedOut::prune_some() {
  const auto limit = now_ns(CLOCK_MONOTONIC) - believed_ns;
  prune_older(node_times_, nodes_, limit, 2);
  prune_older(name_times_, names_, limit, 2);
}

void HandedOut::prune() {
  const auto limit = now_ns(CLOCK_MONOTONIC) - believed_ns;
  prune_older(node_times_, nodes_, limit, node_times_.size());
  prune_older(name_times_, names_, limit, name_times_.size());
}

bool same_attr(const wire::Attr& then, const wire::Attr& now) {
  const auto seen = [](const wire::Attr& a) {
    return std::tie(a.mtime, a.ctime, a.size, a.mode, a.nlink, a.uid, a.gid);
  };
  return seen(then) == seen(now);
}

}  // namespace ssi
