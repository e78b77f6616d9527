// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi status`: the guests that the scheduler knows.
#pragma once

#include <string>
#include <vector>

#include "common/wire.h"

namespace ssi {

std::string status_json(const std::vector<wire::GuestStatus>& guests);
std::string status_table(const std::vector<wire::GuestStatus>& guests);

int status_command(int argc, char** argv);

}  // namespace ssi
