// SPDX-License-Identifier: LGPL-2.1-or-later
// What a guest was told of home's files, and believes until it is told otherwise or has forgotten it: attributes of nodes,
// and which node a name leads to. Home compares it with what is true wherever something happens.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/wire.h"

namespace ssi {

class HandedOut {
 public:
  // Names that are remembered; what is told beyond that is taken back. See excess().
  explicit HandedOut(std::size_t most_names = 200'000) : most_names_(most_names) {}

  struct Told {
    wire::Attr attr;
    bool racy = false;  // so fresh that another change of the content may not show in the times
    bool other =
        false;  // than what was told before, which the guest may still believe if its kernel did not get this
  };
  using Nodes = std::unordered_map<std::uint64_t, Told>;
  using Name = std::pair<std::uint64_t, std::string>;  // in which directory, what
  using Names = std::map<Name, std::uint64_t>;         // to the node that it leads to, 0: to nothing

  void attr(std::uint64_t node, const wire::Attr& attr);
  void name(std::uint64_t parent, const std::string& name, std::uint64_t node) { names_[{parent, name}] = node; }

  void forgotten(std::uint64_t node);  // by the guest, and with it all names in it

  Nodes& nodes() { return nodes_; }
  Names& names() { return names_; }

  // The names of one directory: [first, last).
  std::pair<Names::iterator, Names::iterator> names_in(std::uint64_t parent) {
    return {names_.lower_bound({parent, {}}), names_.lower_bound({parent + 1, {}})};
  }

  // Some names, when there are too many: no longer remembered, so the guest must not believe in them.
  std::vector<Name> excess();

 private:
  const std::size_t most_names_;
  Nodes nodes_;
  Names names_;
  Name hand_;  // where excess() goes on
};

// Whether a file that once was `then` still is what a guest believes of it.
bool same_attr(const wire::Attr& then, const wire::Attr& now);

}  // namespace ssi
