// SPDX-License-Identifier: LGPL-2.1-or-later
// The deputy's log: its stderr, a file that is cut when it has grown too long. A deputy may live for weeks.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/result.h"

namespace ssi::log_file {

constexpr off_t max_bytes = 4 << 20;

// From here on stderr is that file, made if it is not there, 0600, and cut.
Status open(const std::string& path);

// Empties it if it is longer than max_bytes. To be called now and then.
Status cut();

}  // namespace ssi::log_file
