// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a task that waits for us is about to die anyway.
#pragma once

#include <sys/types.h>

#include <string_view>

namespace ssi {

// True when a signal is pending that will end the task, judged by the text of /proc/PID/status.
bool has_fatal_signal(std::string_view status);

// The same for a task; false when it cannot be told (no /proc, or a task of another pid namespace).
bool is_dying(pid_t task);

}  // namespace ssi
