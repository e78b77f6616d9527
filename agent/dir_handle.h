// SPDX-License-Identifier: LGPL-2.1-or-later
// One open directory: a page of home's entries, from which the kernel's small buffers are served.
#pragma once

#include <cstdint>
#include <vector>

#include "common/wire.h"

namespace ssi {

class DirHandle {
 public:
  explicit DirHandle(std::uint64_t handle) : handle_(handle) {}
  std::uint64_t handle() const { return handle_; }

  // Moves the cursor to `offset`, a DirEntry's `next`. False when the page on hand does not continue there,
  // or has no nodes and `plus` wants them: then it must be fetched. So must offset 0: rewinddir(3) asks for
  // what is there now.
  bool seek(std::int64_t offset, bool plus);
  wire::DirEntry* current();  // nullptr at the end of the page
  void advance() { ++cursor_; }

  // The entry's node was passed to the kernel.
  static void take(wire::DirEntry& entry) { entry.entry.node = 0; }

  // Whether the page on hand says that nothing follows there.
  bool ends_at(std::int64_t offset) const { return offset != 0 && end_ && offset == offset_of(entries_.size()); }

  // A page that was asked for. What the old one left must have been dropped: see untaken().
  void fill(std::int64_t offset, bool plus, wire::DirPage page);

  // The nodes of the page that were not passed to the kernel, for the caller to give back. The names stay.
  std::vector<std::uint64_t> untaken();

 private:
  std::int64_t offset_of(std::size_t index) const { return index == 0 ? start_ : entries_[index - 1].next; }

  std::uint64_t handle_;
  std::int64_t start_ = 0;  // offset of the page's first entry
  bool plus_ = false, end_ = false;
  std::vector<wire::DirEntry> entries_;
  std::size_t cursor_ = 0;
};

}  // namespace ssi
