// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi shell --trace`: a seccomp filter asks us at each execve(2) of a command and of all that it starts, whatever they
// are linked with (seccomp_unotify(2)).
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Runs `words` so, diverting programs of these names. The exit status; dies of the signal that has killed the command.
Result<int> run_trace_shell(const std::vector<std::string>& names, const std::vector<std::string>& words);

}  // namespace ssi
