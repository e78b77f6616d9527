// SPDX-License-Identifier: LGPL-2.1-or-later
// Who still needs which of home's nodes. The deputy counts how often it gave a node; the kernel counts how
// often we passed it on; in between we hold it (a page of a directory that the kernel has not read yet). Once
// the kernel has forgotten a node and we hold it no more, all that the deputy gave goes back to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/wire.h"

namespace ssi {

class NodeRefs {
 public:
  explicit NodeRefs(std::uint64_t root) : root_(root) {}

  void hold(std::uint64_t node);  // an Entry arrived: given once more, and in our hands
  void hold_again(std::uint64_t node);  // one that we hold, or the kernel has
  void pass(std::uint64_t node);        // what we held is the kernel's now

  // What we held is not wanted; the kernel has forgotten `count` references. Both return what is to be given
  // back to the deputy, if this was the last use.
  std::optional<wire::Forgotten> drop(std::uint64_t node);
  std::optional<wire::Forgotten> forget(std::uint64_t node, std::uint64_t count);

  // Everything, when the file system is no longer mounted.
  std::vector<wire::Forgotten> clear();

  bool knows(std::uint64_t node) const { return node == root_ || uses_.contains(node); }
  std::size_t size() const { return uses_.size(); }

  // Where a node was last seen, and whether `name` is on the way from the root to `node`.
  void place(std::uint64_t node, wire::Name at);
  std::uint64_t parent_of(std::uint64_t node) const;  // 0: the root, or not known
  bool leads_to(const wire::Name& name, std::uint64_t node) const;
  std::string name_of(std::uint64_t node) const;  // its last component; "": the root, or not known
  std::string path_of(std::uint64_t node) const;  // from the root, as far as known; "": the root

 private:
  struct Use {
    std::uint64_t given = 0, held = 0, kernel = 0;
  };
  std::optional<wire::Forgotten> settle(std::unordered_map<std::uint64_t, Use>::iterator use);

  std::uint64_t root_;
  std::unordered_map<std::uint64_t, Use> uses_;
  std::unordered_map<std::uint64_t, wire::Name> places_;
};

}  // namespace ssi
