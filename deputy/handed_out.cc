// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/handed_out.h"

#include <tuple>

#include "common/file_time.h"

namespace ssi {
namespace {

// Kernels before 6.13 stamp files by a clock that ticks every 1 to 10 ms: two changes within a tick look like
// one.
constexpr std::int64_t tick_ns = 20'000'000;

}  // namespace

void HandedOut::attr(std::uint64_t node, const wire::Attr& attr) {
  const auto former = nodes_.find(node);
  const bool other = former != nodes_.end() && !same_attr(former->second.attr, attr);
  nodes_[node] = {attr, attr.ctime > wall_clock() - tick_ns, other};
}

void HandedOut::forgotten(std::uint64_t node) {
  nodes_.erase(node);
  const auto [first, last] = names_in(node);
  names_.erase(first, last);
}

std::vector<HandedOut::Name> HandedOut::excess() {
  std::vector<Name> out;
  if (names_.size() <= most_names_) return out;
  for (auto left = names_.size() - most_names_ + most_names_ / 16; left > 0 && !names_.empty(); --left) {
    auto at = names_.upper_bound(hand_);
    if (at == names_.end()) at = names_.begin();
    hand_ = at->first;
    out.push_back(at->first);
    names_.erase(at);
  }
  return out;
}

bool same_attr(const wire::Attr& then, const wire::Attr& now) {
  const auto seen = [](const wire::Attr& a) {
    return std::tie(a.mtime, a.ctime, a.size, a.mode, a.nlink, a.uid, a.gid);
  };
  return seen(then) == seen(now);
}

}  // namespace ssi
