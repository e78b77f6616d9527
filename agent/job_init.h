// SPDX-License-Identifier: LGPL-2.1-or-later
// The first process of a job: pid 1 of its pid namespace. Finishes the namespaces, drops all rights, starts the job's
// leader, passes signals on, reaps, and dies with everything in the job when its control socket closes.
#pragma once

#include <sys/types.h>

#include <vector>

#include "agent/inside.h"
#include "common/fd.h"

namespace ssi {

// A child in namespaces of its own, as a job has them, that the kernel sooner kills than the stem. As fork(2).
pid_t clone_init();

// Never returns. `fds`: control socket, spec, passed streams (see inside::StartJob). `squash_ids`: there are no groups to
// be set here; what the agent was started with stays, without a name and without a use: home judges rights.
[[noreturn]] void run_job_init(const inside::StartJob& start, std::vector<Fd> fds, bool squash_ids);

// The same for a job that is yet to come: does what all jobs of that user have in common, says so with one byte to `stem` (a
// SOCK_SEQPACKET socket), and waits there for one with the `fds`. Ends when the other end is closed.
[[noreturn]] void run_spare_init(const inside::StartJob& start, Fd stem, bool squash_ids);

}  // namespace ssi
