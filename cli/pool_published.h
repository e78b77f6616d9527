// SPDX-License-Identifier: LGPL-2.1-or-later
// The file by which everybody on this machine finds the embedded pool: /run/ssi/pool.toml.
#pragma once

#include <string>

#include "cli/pool_record.h"
#include "common/result.h"

namespace ssi {

std::string published_text(const PoolRecord& record);

// The scheduler process that such a text names in its first line; pid 0 when it names none.
ProcessId publisher_of(const std::string& text);

// False when another pool that is up has published itself already: that one stays.
Result<bool> publish_for_everybody(const std::string& text);

// Removes the file when it is this one, and its directory when it is empty then.
void unpublish_for_everybody(const std::string& text);

}  // namespace ssi
