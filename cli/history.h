// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi history` and `ssi why`: the user's past jobs, from a file, so they need no deputy and no pool.
#pragma once

#include <string>
#include <vector>

#include "cli/past_jobs.h"

namespace ssi {

std::string history_json(const std::vector<PastJob>& jobs);
std::string history_table(const std::vector<PastJob>& jobs);
std::string why_line(const PastJob& job);

int history_command(int argc, char** argv);
int why_command(int argc, char** argv);

}  // namespace ssi
