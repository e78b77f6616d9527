// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi desktop`: applications that a desktop starts, with the shim (cli/desktop_entry.h).
#pragma once

namespace ssi {

int desktop_command(int argc, char** argv);  // argv[0] is "desktop"

}  // namespace ssi
