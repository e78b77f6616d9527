/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A terminal as the job's standard input, until jobs have ptys: only ssirun reads it, and only in the
 * foreground; the job gets a pipe. A line that the job did not take is lost with the pipe. */
#ifndef SSI_SHIM_TERMINAL_H
#define SSI_SHIM_TERMINAL_H

#include <poll.h>
#include <stdbool.h>

struct terminal {
  int tty, pipe; /* -1: none (any more). The pipe's end that we write */
  int used, sent;
  char line[4096]; /* what the pipe did not take yet: line[sent..used) */
};

/* When fd 0 is a terminal: the pipe's reading end, to be passed in its place. Otherwise -1. */
int terminal_open(struct terminal* terminal, bool stdin_open);

/* What to poll: the tty and the pipe, with fd -1 where there is nothing to wait for. The time after which to
 * ask again, as nothing tells a process that it came to the foreground; -1: for ever. */
int terminal_wants(const struct terminal* terminal, struct pollfd wants[2]);

/* After the poll. SIGTTIN and SIGPIPE must be blocked. */
void terminal_pump(struct terminal* terminal, const struct pollfd got[2]);

#endif
