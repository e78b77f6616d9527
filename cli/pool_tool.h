// SPDX-License-Identifier: LGPL-2.1-or-later
// Programs that are run for what they do or say: ip(8), ldd(1), ssirun.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Where a program is, when it is not a path already: PATH, then the sbin directories, which `su` leaves out of root's PATH.
Result<std::string> find_tool(const std::string& name);

// Runs argv[0], waits, and returns its standard output. When it fails, the error is the first line of its
// stderr. It gets a process group of its own: Ctrl-C must not kill it while it takes a pool down.
Result<std::string> run_tool(const std::vector<std::string>& argv);

}  // namespace ssi
