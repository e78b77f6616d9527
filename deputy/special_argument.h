// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a command names, in its arguments, something that only home can open: a FIFO, a socket, or a device that is
// not in every guest.
#pragma once

#include <string>
#include <vector>

namespace ssi {

// "p is a FIFO"; empty: none. Also in what follows a "=": if=p, --file=p.
std::string special_argument(const std::string& cwd, const std::vector<std::string>& argv);

}  // namespace ssi
