// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/terminal_modes.h"

#include <sys/ioctl.h>
#include <termios.h>

#include <algorithm>
#include <cstring>

namespace ssi {

Result<wire::Modes> terminal_modes(int terminal) {
  termios modes;
  if (::tcgetattr(terminal, &modes) != 0) return os_error("tcgetattr");
  return wire::Modes{modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag,
                     wire::Bytes(reinterpret_cast<const char*>(modes.c_cc), sizeof modes.c_cc)};
}

void set_terminal_modes(int terminal, const wire::Modes& modes) {
  termios now;
  if (::tcgetattr(terminal, &now) != 0) return;
  now.c_iflag = modes.input;
  now.c_oflag = modes.output;
  now.c_cflag = modes.control;
  now.c_lflag = modes.local;
  std::memcpy(now.c_cc, modes.characters.data(), std::min(modes.characters.size(), sizeof now.c_cc));
  ::tcsetattr(terminal, TCSANOW, &now);
}

void set_window_size(int terminal, const wire::WindowSize& window) {
  const winsize size{window.rows, window.columns, window.x_pixels, window.y_pixels};
  ::ioctl(terminal, TIOCSWINSZ, &size);
}

}  // namespace ssi
