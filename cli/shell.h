// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi shell [COMMAND]`: a shell, or a command, whose allow-listed commands are diverted.
#pragma once

namespace ssi {

int shell_command(int argc, char** argv);  // argv[0] is "shell"

}  // namespace ssi
