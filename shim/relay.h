/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun while the deputy has its command: passes signals on, and ends as the job does. */
#ifndef SSI_SHIM_RELAY_H
#define SSI_SHIM_RELAY_H

#include "shim/caller.h"
#include "shim/say.h"
#include "shim/terminal.h"

enum relay_end { RELAY_HOME, RELAY_STATUS };

struct relay {
  int link;
  bool verbose;
  const struct caller* caller;
  struct terminal* terminal;
  void (*started)(void* context); /* the job runs: home is no longer possible */
  void* context;
};

/* After hold_signals() and send_run(). RELAY_HOME: run it at home; fd 0..2 and the signal mask are as the
 * caller left them, *why says why. RELAY_STATUS: exit with *status. Does not return when the job died by a
 * signal. */
enum relay_end relay_job(struct relay* relay, struct reason* why, int* status);

#endif
