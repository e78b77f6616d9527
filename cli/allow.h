// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi allow`: which commands the shim diverts.
#pragma once

#include <cstddef>

#include "common/result.h"

namespace ssi {

// system: of /etc/ssi alone, to /var/lib/ssi, for users who have no table.
enum class AllowScope { user, system };

// Writes the shim's table from the configuration to the state directory. How many names it has.
Result<std::size_t> compile_allow_list(AllowScope scope = AllowScope::user);

int allow_command(int argc, char** argv);  // argv[0] is "allow"

}  // namespace ssi
