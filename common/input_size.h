// SPDX-License-Identifier: LGPL-2.1-or-later
// How much a command is given to read, as far as its arguments tell.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ssi {

// The bytes of the arguments that name regular files, as seen from `cwd`. argv[0] is no argument.
std::uint64_t input_size(const std::string& cwd, const std::vector<std::string>& argv);

}  // namespace ssi
