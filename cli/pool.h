// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi pool up` and `ssi pool down`: the embedded pool on this machine.
#pragma once

namespace ssi {

int pool_command(int argc, char** argv);

}  // namespace ssi
