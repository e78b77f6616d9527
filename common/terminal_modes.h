// SPDX-License-Identifier: LGPL-2.1-or-later
// A terminal's modes and size, as they travel. Source: termios(3), ioctl_tty(2).
#pragma once

#include "common/result.h"
#include "common/wire.h"

namespace ssi {

Result<wire::Modes> terminal_modes(int terminal);  // of a master: of the slave's end
void set_terminal_modes(int terminal, const wire::Modes& modes);
void set_window_size(int terminal, const wire::WindowSize& window);

}  // namespace ssi
