// SPDX-License-Identifier: LGPL-2.1-or-later
// The unprivileged process that tells the schedulers how busy this guest is, on change and every 500 ms.
#pragma once

#include "agent/parent.h"
#include "common/fd.h"
#include "common/identity.h"

namespace ssi {

// `parent` brings inside::JobsChanged and inside::Draining packets; its end ends the process. `speed` as in wire::Report.
int run_reporter(const AgentOptions& options, const Identity& self, double speed, Fd parent);

}  // namespace ssi
