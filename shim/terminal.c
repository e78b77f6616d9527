/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shim/deputy_link.h"

enum { BACKGROUND_MS = 100 };

/* A terminal that doesn't control us lets everybody read: tcgetpgrp fails. */
static bool in_foreground(int tty) {
  pid_t group = tcgetpgrp(tty);
  return group < 0 || group == getpgrp();
}

static void end(struct terminal* terminal) {
  if (terminal->tty >= 0) close(terminal->tty);
  if (terminal->pipe >= 0) close(terminal->pipe);
  terminal->tty = terminal->pipe = -1;
}

int terminal_open(struct terminal* terminal, bool stdin_open) {
  terminal->tty = terminal->pipe = -1;
  terminal->used = terminal->sent = 0;
  int ends[2];
  if (!stdin_open || !isatty(0) || pipe2(ends, O_CLOEXEC)) return -1;
  terminal->pipe = lift(ends[1]);
  terminal->tty = fcntl(0, F_DUPFD_CLOEXEC, 3);
  fcntl(terminal->pipe, F_SETFL, O_NONBLOCK); /* a job that doesn't read must not keep us from its end */
  return lift(ends[0]);
}

int terminal_wants(const struct terminal* terminal, struct pollfd wants[2]) {
  const bool pending = terminal->sent < terminal->used;
  const bool may_read = terminal->tty >= 0 && !pending && in_foreground(terminal->tty);
  wants[0] = (struct pollfd){may_read ? terminal->tty : -1, POLLIN, 0};
  wants[1] = (struct pollfd){terminal->pipe, pending ? POLLOUT : 0, 0};
  return terminal->tty < 0 || may_read || pending ? -1 : BACKGROUND_MS;
}

void terminal_pump(struct terminal* terminal, const struct pollfd got[2]) {
  if (got[0].revents) {
    ssize_t length = read(terminal->tty, terminal->line, sizeof terminal->line);
    /* EIO: we went to the background meanwhile (SIGTTIN is blocked), or the terminal is gone. */
    const bool later =
        length < 0 && (errno == EINTR || errno == EAGAIN || (errno == EIO && !in_foreground(terminal->tty)));
    if (length <= 0 && !later) end(terminal);
    terminal->sent = 0;
    terminal->used = length > 0 ? (int)length : 0;
  }
  if (terminal->pipe >= 0 && got[1].revents & POLLERR) end(terminal); /* nobody reads any more */
  if (terminal->sent >= terminal->used || terminal->pipe < 0) return;
  ssize_t sent =
      write(terminal->pipe, terminal->line + terminal->sent, (size_t)(terminal->used - terminal->sent));
  if (sent > 0)
    terminal->sent += (int)sent;
  else if (errno != EAGAIN && errno != EINTR)
    end(terminal);
}
