// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi drain` and `ssi resume`: a guest takes no new jobs, or takes them again.
#pragma once

namespace ssi {

int drain_command(int argc, char** argv);
int resume_command(int argc, char** argv);

}  // namespace ssi
