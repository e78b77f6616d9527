// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a command names, in its arguments, something that only home can open: a FIFO, a socket, a device that is
// not in every guest, or what the export policy hides.
#pragma once

#include <string>
#include <vector>

#include "deputy/export_policy.h"

namespace ssi {

// "p is a FIFO"; empty: none. Also in what follows a "=": if=p, --file=p.
std::string special_argument(const std::string& cwd, const std::vector<std::string>& argv);

// The same for what the policy hides: the first such path, argv[0] included; "": none.
std::string hidden_argument(const ExportPolicy& policy, const std::string& cwd,
                            const std::vector<std::string>& argv);

}  // namespace ssi
