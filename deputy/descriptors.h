// SPDX-License-Identifier: LGPL-2.1-or-later
// What the caller's descriptors become in the guest, or why the command must stay at home.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "common/wire.h"
#include "deputy/caller.h"
#include "deputy/export_policy.h"

namespace ssi {

// Ascending, like `passed`. An error is the reason for home: "descriptor 5 is a socket".
Result<std::vector<wire::Descriptor>> describe(const std::vector<PassedFd>& passed,
                                               const ExportPolicy& policy);

// The first that is a pipe other than stdin, stdout and stderr; nullptr: none.
const wire::Descriptor* pipe_above_stdio(const std::vector<wire::Descriptor>& described);

// Takes the two ends of one pipe out of `passed`, if that is what those numbers are.
std::vector<PassedFd> take_pipe(std::vector<PassedFd>& passed, int read, int write);

}  // namespace ssi
