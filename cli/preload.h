// SPDX-License-Identifier: LGPL-2.1-or-later
// The shim, for what this process becomes.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Puts it first in LD_PRELOAD; what is there already stays.
Status preload_shim();

// These words as a command of sh: only what a preloaded process starts is diverted, and we are none.
std::vector<std::string> by_shell(const std::vector<std::string>& words);

}  // namespace ssi
