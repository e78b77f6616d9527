// SPDX-License-Identifier: LGPL-2.1-or-later
// What a guest was told so lately that it may still believe it (wire::cache_ms): attributes of nodes, and
// which node a name leads to. At a job's start, home compares this with what is true now.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "common/wire.h"

namespace ssi {

class HandedOut {
 public:
  // The guest counts from a reply's arrival: a slow link adds to the time that we count. Twice is generous.
  static constexpr std::uint64_t believed_ms = 2ULL * wire::cache_ms;

  struct Told {
    wire::Attr attr;
    bool racy = false;  // so fresh that another change of the content may not show in the times
    bool other =
        false;  // than what was told before, which the guest may still believe if its kernel did not get this
    std::uint64_t when = 0;
  };
  struct NamedHash {
    std::size_t operator()(const std::pair<std::uint64_t, std::string>& key) const {
      return std::hash<std::string>()(key.second) ^ key.first * 0x9e3779b97f4a7c15u;
    }
  };
  struct Led {
    std::uint64_t node = 0;  // 0: to nothing
    std::uint64_t when = 0;
  };
  using Nodes = std::unordered_map<std::uint64_t, Told>;
  using Names = std::unordered_map<std::pair<std::uint64_t, std::string>, Led, NamedHash>;

  void attr(std::uint64_t node, const wire::Attr& attr);
  void name(std::uint64_t parent, const std::string& name, std::uint64_t node);  // 0: no such name

  void prune();  // lets go of what no guest believes any more
  Nodes& nodes() { return nodes_; }
  Names& names() { return names_; }

 private:
  void prune_some();

  Nodes nodes_;
  Names names_;
  std::deque<std::pair<std::uint64_t, std::uint64_t>> node_times_;          // when, node
  std::deque<std::pair<std::uint64_t, const Names::key_type>> name_times_;  // when, name
};

// Whether a file that once was `then` still is what a guest believes of it.
bool same_attr(const wire::Attr& then, const wire::Attr& now);

}  // namespace ssi
