// SPDX-License-Identifier: LGPL-2.1-or-later
// The one door through which jobs change home's files. It numbers each change; what must happen before a
// change (the policy's word today; the undo journal, notices to other holders of a lease) happens here and
// nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "deputy/export_policy.h"
#include "deputy/nodes.h"
#include "deputy/text_uses.h"
#include "deputy/unlocks.h"

namespace ssi {

// What is about to be changed: a file itself, a name, or two names.
struct Change {
  enum class Kind {
    attributes,
    create,
    mknod,
    mkdir,
    symlink,
    link,
    unlink,
    rmdir,
    rename,
    truncate,
    write,
    setxattr,
    removexattr,
    fallocate,
    copy_range
  };

  struct Place {
    const Node* dir = nullptr;
    std::string_view name;
    std::optional<FileId> is;  // the file that has the name now, if any
  };

  Kind kind;
  const Node* node = nullptr;
  std::optional<Place> place{}, to{};
};

// Loop thread only.
class Effects {
 public:
  // EROFS, or wire::hidden, when the policy keeps jobs from it (logged); else the errno of `perform`, which does it, or queues
  // it behind the earlier changes of the same handle and returns 0.
  int apply(const ExportPolicy& policy, const Change& change, const std::function<int()>& perform);

  // Whether a change of the file would be refused, without one being made: open(2) for writing, access(2).
  static int may_change(const ExportPolicy& policy, const Node& node);

  std::uint64_t last() const { return last_; }  // the number of the latest change, 0 before the first

  Unlocks& unlocks() { return unlocks_; }
  TextUses& text_uses() { return text_uses_; }

 private:
  std::uint64_t last_ = 0;
  Unlocks unlocks_;
  TextUses text_uses_;
};

}  // namespace ssi
