// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/terminal_modes.h"

namespace ssi {

Result<JobTerminal> JobTerminal::open(const wire::Modes& modes, const wire::WindowSize& window) {
  JobTerminal made;
  made.master_.reset(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!made.master_) return os_error("open /dev/ptmx");
  int locked = 0;
  if (::ioctl(made.master_.get(), TIOCSPTLCK, &locked) != 0) return os_error("unlock a terminal");
  made.slave_.reset(::ioctl(made.master_.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!made.slave_) return os_error("open a terminal");
  set_terminal_modes(made.slave_.get(), modes);
  set_window_size(made.slave_.get(), window);
  if (::ioctl(made.slave_.get(), TIOCSCTTY, 0) != 0) return os_error("take a terminal");
  return made;
}

void JobTerminal::set_foreground(pid_t group) const {
  if (slave_) ::tcsetpgrp(slave_.get(), group);
}

void JobTerminal::put_into_background() {
  if (const pid_t group = foreground(); group != ::getpgrp()) waiting_ = group;
  set_foreground(::getpgrp());
}

void JobTerminal::take_foreground(pid_t group) {
  if (foreground() == ::getpgrp()) set_foreground(waiting_ > 0 ? waiting_ : group);
}

pid_t JobTerminal::foreground() const {
  const pid_t group = slave_ ? ::tcgetpgrp(slave_.get()) : 0;
  return group > 0 ? group : 0;
}

std::string JobTerminal::unread() const {
  std::string typed;
  termios modes;
  if (!slave_ || ::tcgetattr(slave_.get(), &modes) != 0) return typed;
  ::tcsetpgrp(slave_.get(), ::getpgrp());  // only the foreground may read
  modes.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
  modes.c_cc[VMIN] = modes.c_cc[VTIME] = 0;
  ::tcsetattr(slave_.get(), TCSANOW, &modes);
  char bytes[4096];
  // Until there is nothing: only then the kernel looks for what was written a moment ago.
  for (ssize_t got = 0; (got = ::read(slave_.get(), bytes, sizeof bytes)) > 0;)
    typed.append(bytes, static_cast<std::size_t>(got));
  return typed;
}

}  // namespace ssi
