/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conversation with the deputy: common/handover.h. */
#ifndef SSI_SHIM_DEPUTY_LINK_H
#define SSI_SHIM_DEPUTY_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/handover.h"
#include "shim/caller.h"
#include "shim/options.h"
#include "shim/say.h"

/* A message of the deputy's. `body` has `length` bytes and a NUL behind them; it is valid until the next one.
 */
struct message {
  uint32_t kind, length;
  char* body;
  int fds[3];
  int fd_count;
};

/* A descriptor above stdio: where the caller had closed one of 0..2, the kernel would give us that number. */
int lift(int fd);

/* Sends HANDOVER_RUN with `stdio`, the descriptors in place of 0..2 of those that are in caller->open_mask.
 */
bool send_run(int link, const struct options* options, const struct caller* caller, const char* path,
              const int stdio[3], struct reason* why);

/* Never blocks: a signal that a hung deputy cannot take is dropped. */
void send_signal(int link, int number);

/* False: the deputy is gone, or isn't one. Blocks until a whole message is there. */
bool receive(int link, struct message* message);

#endif
