// SPDX-License-Identifier: LGPL-2.1-or-later
// The agent's root parent: accepts connections and forks an unprivileged process for each, makes user namespaces, reaps.
// It parses nothing that comes from the network but tickets whose signature it has verified.
#pragma once

#include "agent/agent_config.h"
#include "common/fd.h"
#include "common/identity.h"
#include "common/result.h"

namespace ssi {

// Runs until SIGINT, or SIGTERM: then it takes no new jobs, waits for those that run (`drain_seconds`), and a second one
// ends it at once. Everything it forked ends with it. `listener`: empty when the guest dials out.
Status run_parent(const AgentOptions& options, const Identity& self, Fd listener);

// An account without rights for the processes that parse what comes from the network. Call once, in the child.
Status give_up_privileges(const AgentOptions& options);

}  // namespace ssi
