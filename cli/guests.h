// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi guests`: who belongs to the pool, who would like to, and who may.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/wire.h"

namespace ssi {

std::string guests_table(const std::vector<wire::GuestEntry>& guests);
std::string guests_json(const std::vector<wire::GuestEntry>& guests);

// "90s", "30m", "12h", "7d": seconds.
Result<std::uint32_t> parse_duration(const std::string& text);

int guests_command(int argc, char** argv);

}  // namespace ssi
