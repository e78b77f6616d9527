// SPDX-License-Identifier: LGPL-2.1-or-later
// The open file description at home that stands for one owner of locks (a process of a guest, or a description
// there). Home's kernel tells owners apart by their descriptions when the locks are OFD locks (fcntl(2)), so
// each needs one of its own. The first to lock through a guest's handle is lent the handle's.
#pragma once

#include <fcntl.h>

#include <memory>
#include <vector>

#include "common/fd.h"
#include "deputy/file_id.h"
#include "deputy/handles.h"

namespace ssi {

class LockDescription {
 public:
  // The handle's, or the file opened again: as the handle's opener, to read or write what the handle may.
  // ENOLCK: it cannot be opened again.
  static Answer<LockDescription> of(const std::shared_ptr<OpenFile>& file);
  ~LockDescription();  // gives up all locks
  LockDescription(LockDescription&& other) noexcept { *this = std::move(other); }
  LockDescription& operator=(LockDescription&& other) noexcept;

  int fd() const { return own_ ? own_.get() : lent_->fd.get(); }

  // Whether locks of this type (F_RDLCK, F_WRLCK) can be set.
  bool may(int type) const;

  // Takes over what `former` holds, which keeps it. ENOLCK: it holds write locks, which nobody can share.
  int share(const LockDescription& former) const;

  // The ranges that are locked, as the kernel has merged and split them.
  std::vector<struct flock> ranges() const;

 private:
  LockDescription() = default;
  Fd own_;
  std::shared_ptr<OpenFile> lent_;
};

}  // namespace ssi
