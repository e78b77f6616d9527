// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace ssi {

// ssi guest build DIR [--scheduler HOST:PORT[#KEY]] [--token T]: becomes guest/build.
int guest_command(int argc, char** argv);

}  // namespace ssi
