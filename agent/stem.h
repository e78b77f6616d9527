// SPDX-License-Identifier: LGPL-2.1-or-later
// The stem of one home: a process that is root of that home's user namespace and of nothing else. It keeps the home's
// tree mounted at inside::view_path in a mount namespace of its own, which every job copies.
#pragma once

#include "common/fd.h"

namespace ssi {

// Runs in a fresh child of the parent, already inside the mapped user namespace. `home` is the SOCK_SEQPACKET socket to
// the home process; its end ends the stem. `squash_ids`: see AgentOptions. Returns the exit status.
int run_stem(Fd home, bool squash_ids);

}  // namespace ssi
