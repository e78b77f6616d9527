// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dir_handle.h"

#include <utility>

namespace ssi {

bool DirHandle::seek(std::int64_t offset, bool plus) {
  if (offset == 0 || entries_.empty() || (plus && !plus_)) return false;
  if (offset_of(cursor_) != offset) {  // seekdir(3), or a reply that the kernel did not take
    cursor_ = 0;
    while (cursor_ < entries_.size() && offset_of(cursor_) != offset) ++cursor_;
  }
  return cursor_ < entries_.size();
}

wire::DirEntry* DirHandle::current() {
  return cursor_ < entries_.size() ? &entries_[cursor_] : nullptr;
}

void DirHandle::fill(std::int64_t offset, bool plus, wire::DirPage page) {
  start_ = offset;
  plus_ = plus;
  end_ = page.end != 0;
  entries_ = std::move(page.entries);
  cursor_ = 0;
}

std::vector<std::uint64_t> DirHandle::untaken() {
  std::vector<std::uint64_t> nodes;
  for (auto& entry : entries_) {
    if (entry.entry.node != 0) nodes.push_back(std::exchange(entry.entry.node, 0));
  }
  return nodes;
}

}  // namespace ssi
