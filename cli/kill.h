// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi kill`: a signal for a job of this user's, by way of his deputy.
#pragma once

#include <string>

namespace ssi {

// "TERM", "SIGTERM", "15", "RTMIN+3"; 0: there is no such signal.
int signal_number(const std::string& text);

int kill_command(int argc, char** argv);

}  // namespace ssi
