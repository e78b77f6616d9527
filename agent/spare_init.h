// SPDX-License-Identifier: LGPL-2.1-or-later
// The init of a job that has not come yet: its namespaces are made, its mounts are done and its rights dropped while nobody waits
// for that. It is good for a job of the same user only, and for the mounts that there were: the stem drops it when they change.
#pragma once

#include <span>

#include "agent/inside.h"
#include "common/fd.h"

namespace ssi {

class SpareInit {
 public:
  // For a job like `start`. `keep_away`: what it must not hold. Nothing comes of it when there is one already, or when the
  // guest lacks something.
  void make(const inside::StartJob& start, bool squash_ids, Fd& keep_away);

  // Hands the job over to it. False: there is none that is ready and fits.
  bool take(const inside::StartJob& start, std::span<const Fd> fds);

  void drop() { stem_end_.reset(); }  // it ends

 private:
  bool is_ready();

  inside::StartJob like_{};
  Fd stem_end_;
  bool ready_ = false;
};

}  // namespace ssi
