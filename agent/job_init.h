// SPDX-License-Identifier: LGPL-2.1-or-later
// The first process of a job: pid 1 of its pid namespace. Finishes the namespaces, drops all rights, starts the job's
// leader, passes signals on, reaps, and dies with everything in the job when its control socket closes.
#pragma once

#include <vector>

#include "agent/inside.h"
#include "common/fd.h"

namespace ssi {

// Never returns. `fds`: control socket, spec, passed streams (see inside::StartJob). `squash_ids`: there are no groups to
// be set here; what the agent was started with stays, without a name and without a use: home judges rights.
[[noreturn]] void run_job_init(const inside::StartJob& start, std::vector<Fd> fds, bool squash_ids);

}  // namespace ssi
