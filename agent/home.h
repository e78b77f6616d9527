// SPDX-License-Identifier: LGPL-2.1-or-later
// The unprivileged process that serves one session: TLS and frames on one side, FUSE and the jobs' streams on the other.
#pragma once

#include "agent/parent.h"
#include "common/fd.h"
#include "common/identity.h"

namespace ssi {

// Runs until the link is lost or the peer fails to authenticate itself within 5 s. `connection` is the accepted TCP
// socket, `parent` the SOCK_SEQPACKET socket to the root parent (agent/inside.h). Returns the exit status.
int run_home(const AgentOptions& options, const Identity& self, Fd connection, Fd parent);

}  // namespace ssi
