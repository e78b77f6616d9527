// SPDX-License-Identifier: LGPL-2.1-or-later
// Programs that give their caller more rights than he has. In a guest they don't: the view is mounted nosuid.
#pragma once

#include <string>

namespace ssi {

// "the set-user-ID bit of /usr/bin/sudo has no effect in a guest"; "": the program at this path gives us nothing.
std::string set_id_remark(const std::string& path);

}  // namespace ssi
