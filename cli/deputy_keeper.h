// SPDX-License-Identifier: LGPL-2.1-or-later
// A deputy for a shell from whose inside none can be started: it has to stand where the user stands.
#pragma once

namespace ssi {

// Starts one, and another one whenever that has ended (it does when nothing ran for a while), by a process that stays outside and lives
// as long as this one, also when this one becomes another program. Where none can be started, all stays home.
void keep_deputy();

}  // namespace ssi
