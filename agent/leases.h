// SPDX-License-Identifier: LGPL-2.1-or-later
// What home has said of its files and takes back when it is not true any more (wire.h, "lease"): the kernel can be answered
// with it, without asking home again.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "common/wire.h"

namespace ssi {

class Leases {
 public:
  // Home has said this of a node now. What home cannot watch (Attr.brief) is not remembered.
  void told(std::uint64_t node, const wire::Attr& attr);

  // It is not true any more, or may not be: home said so, or a change of ours is on its way.
  void forget(std::uint64_t node) { told_.erase(node); }

  // Null: it must be asked for.
  const wire::Attr* attr(std::uint64_t node) const;

  // Of a file that is read at home at `now` (ns since the epoch) the time of access is not known any more, unless mount(8)'s
  // "relatime" leaves it as it is.
  void read_at_home(std::uint64_t node, std::int64_t now);
  bool knows_access_time(std::uint64_t node) const;
  void was_read(std::uint64_t node, std::int64_t atime);  // and now has this one

  // Tells one lease of a node from a later one: content that was read under this one is good as long as it is the same. 0: none.
  std::uint64_t number(std::uint64_t node) const;

  // Of a symbolic link, as long as the node is known: another target is another node. "": it must be asked for.
  void links_to(std::uint64_t node, const std::string& target) { targets_[node] = target; }
  std::string target(std::uint64_t node) const;

  void gone(std::uint64_t node);  // nobody knows the node any more

  std::size_t size() const { return told_.size() + targets_.size(); }

 private:
  struct Told {
    wire::Attr attr;
    std::uint64_t number = 0;
    bool was_read = false;
  };
  std::unordered_map<std::uint64_t, Told> told_;
  std::unordered_map<std::uint64_t, std::string> targets_;
  std::uint64_t numbers_ = 0;
};

}  // namespace ssi
