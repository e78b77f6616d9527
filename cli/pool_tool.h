// SPDX-License-Identifier: LGPL-2.1-or-later
// Programs of Debian that the pool uses: ip(8), ldd(1).
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Where a program is: PATH, then the sbin directories, which `su` leaves out of root's PATH.
Result<std::string> find_tool(const std::string& name);

// Runs argv[0], waits, and returns its standard output. When it fails, the error is the first line of its
// stderr. It gets a process group of its own: Ctrl-C must not kill it while it takes a pool down.
Result<std::string> run_tool(const std::vector<std::string>& argv);

}  // namespace ssi
