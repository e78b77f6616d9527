// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi allow`: which commands the shim diverts.
#pragma once

#include <cstddef>

#include "common/result.h"

namespace ssi {

// Writes the shim's table from the configuration to the state directory. How many names it has.
Result<std::size_t> compile_allow_list();

int allow_command(int argc, char** argv);  // argv[0] is "allow"

}  // namespace ssi
