// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

#include "tests/system/proxy_sequence.h"

namespace ssi::proxy {

// Plays a sequence with `prefix child ACT...` in the current directory, and tells all that was to be seen of it: the child's and
// the other process's traces, what waitid said, the bytes of the streams, and what was left in stdin.
std::string run(const Sequence& sequence, const std::vector<std::string>& prefix, const std::string& child);

}  // namespace ssi::proxy
