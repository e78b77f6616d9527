// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi shims`: links to ssirun on PATH, each under the name of a command that it diverts (shim/path_shim.c).
#pragma once

namespace ssi {

int shims_command(int argc, char** argv);  // argv[0] is "shims"

}  // namespace ssi
