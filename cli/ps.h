// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi ps`: the jobs that run in the pool.
#pragma once

#include <string>
#include <vector>

#include "common/wire.h"

namespace ssi {

std::string ps_json(const std::vector<wire::JobStatus>& jobs);
std::string ps_table(const std::vector<wire::JobStatus>& jobs);

int ps_command(int argc, char** argv);

}  // namespace ssi
