/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A second process in ssirun's process group. What only it can do:
 *   - tell a signal that was sent to the whole group from one that was sent to ssirun: then it got it too;
 *   - be stopped with the group, which the deputy sees;
 *   - put the terminal right when ssirun is killed by SIGKILL. */
#ifndef SSI_SHIM_WITNESS_H
#define SSI_SHIM_WITNESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

struct witness {
  pid_t pid;   /* 0: there is none */
  int channel; /* -1: none */
  struct witness_page* page;
  unsigned group_signals[65]; /* that it got and that were not asked for yet */
};

/* `tty`: the terminal, or -1. */
void start_witness(struct witness* witness, int tty);
void end_witness(struct witness* witness);

/* Whether the signal that ssirun has just taken was sent to its whole group. */
bool sent_to_group(struct witness* witness, int number);

/* What to set the terminal to when ssirun is killed; NULL: leave it. */
void remember_modes(struct witness* witness, const struct termios* modes);

#endif
