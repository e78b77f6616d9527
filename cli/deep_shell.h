// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi shell --deep`: a mount namespace in which ssirun is mounted over each program that is diverted, so that it
// matters nothing who starts it, and how.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Moves this process into such a namespace, for programs of these names. Needs no root: then in a user namespace as well.
Status enter_deep_shell(const std::vector<std::string>& names);

}  // namespace ssi
