// SPDX-License-Identifier: LGPL-2.1-or-later
// What a program that nobody has seen run needs to start: its shared libraries, as its own dynamic loader finds them, and of each file what a
// start reads.
#pragma once

#include <string>

#include "deputy/profile.h"

namespace ssi {

// `environment`: the program's, strings ended by NUL. Empty: it is no dynamic ELF program of this machine, or its loader does not say within
// two seconds. BLOCKS while the loader looks (10 to 100 ms); nothing of the program itself is run.
Profile needs_of(const std::string& program, const std::string& environment);

}  // namespace ssi
