/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The caller's terminal, while the job has a remote one in its place. Only ssirun touches it, and only in the foreground.
 *
 * The remote terminal edits lines, echoes and cooks output, by the modes that the job has set there. So what is typed here
 * must come as it is typed: no lines, no echo, no translation. Two things stay with the terminal here, because others than the
 * job depend on them: signals (^C is for the whole foreground group, not for the job alone), and the cooking of output
 * (other members of a pipeline write too), for which the remote cooking is undone. */
#ifndef SSI_SHIM_TERMINAL_H
#define SSI_SHIM_TERMINAL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "common/handover.h"
#include "shim/descriptors.h"
#include "shim/witness.h"

struct terminal {
  int tty, channel;      /* -1: none (any more). The channel goes to the deputy and carries the bytes */
  int peer;              /* the deputy's end of the channel, until it has been passed */
  bool reads;            /* what is typed is for the job */
  bool front;            /* the job has the foreground of its terminal: we have that of ours, and it reads */
  bool held;             /* it has our modes */
  bool refused;          /* the deputy takes no more of what is typed: it is for whoever reads next */
  bool after_cr;         /* the last byte shown was \r of the remote's making, perhaps */
  struct termios before; /* what it was like when we took it */
  struct handover_modes job; /* what the job has set on its own */
  struct witness* witness;
  size_t typed, sent;    /* in[sent..typed): read from the tty, not yet in the channel */
  size_t shown, written; /* out[written..shown): not yet on the tty */
  uint64_t
      sent_ever; /* bytes into the channel; the last of them are in recent[], at their number modulo its size */
  char in[4096], recent[4096], out[16384];
};

/* Opens it when one of `descriptors` is the terminal. With `peer` then to be passed. */
void terminal_open(struct terminal* terminal, const struct descriptors* descriptors);
void terminal_describe(const struct terminal* terminal, struct handover_modes* modes,
                       struct handover_window* window);

/* What to poll: the tty, the channel. The milliseconds after which to ask again, as nothing tells a process that it came to
 * the foreground; -1: for ever. Takes the terminal, or lets it go, as the foreground demands. */
int terminal_wants(struct terminal* terminal, struct pollfd wants[2]);

/* After the poll; SIGTTIN, SIGTTOU and SIGPIPE blocked. False: the terminal was hung up. */
bool terminal_pump(struct terminal* terminal, const struct pollfd got[2]);

/* The job was stopped because it wants the terminal in the background. True: it may have it. */
bool terminal_wanted(struct terminal* terminal);

/* Whether the foreground is the job's by now. */
bool terminal_front(struct terminal* terminal);

/* The job has set `modes`. */
void terminal_modes(struct terminal* terminal, const struct handover_modes* modes);

/* Shows all that lies in the channel: what the deputy wrote before its last message. */
void terminal_show(struct terminal* terminal);

/* Gives it back as it was. */
void terminal_release(struct terminal* terminal);

/* At the job's end: shows all that the channel still holds, then gives it back, and to whoever reads next what the job did not:
 * `typed`, which it left at its terminal, and what we sent after the first `taken` bytes and did not get there. */
void terminal_end(struct terminal* terminal, const char* typed, size_t length, uint64_t taken);

#endif
