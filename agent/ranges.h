// SPDX-License-Identifier: LGPL-2.1-or-later
// Parts of a file.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>

namespace ssi {

class Ranges {
 public:
  // Bytes from `from` on, before `to`. Returns how many of them were not there.
  std::uint64_t add(std::uint64_t from, std::uint64_t to) {
    if (from >= to) return 0;
    const auto before = bytes_;
    auto at = parts_.upper_bound(from);
    if (at != parts_.begin() && std::prev(at)->second >= from) --at;
    while (at != parts_.end() && at->first <= to) {
      from = std::min(from, at->first);
      to = std::max(to, at->second);
      bytes_ -= at->second - at->first;
      at = parts_.erase(at);
    }
    parts_.emplace(from, to);
    bytes_ += to - from;
    return bytes_ - before;
  }

  bool has(std::uint64_t from, std::uint64_t to) const {
    const auto at = parts_.upper_bound(from);
    return at != parts_.begin() && std::prev(at)->second >= to;
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  std::map<std::uint64_t, std::uint64_t> parts_;  // from, to: neither touching nor overlapping
  std::uint64_t bytes_ = 0;
};

}  // namespace ssi
