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
#include "shim/terminal.h"

/* A message of the deputy's. `body` has `length` bytes and a NUL behind them; it is valid until the next one.
 */
struct message {
  uint32_t kind, length;
  char* body;
  int fds[HANDOVER_DESCRIPTORS];
  uint32_t fd_count;
};

/* A descriptor above stdio: where the caller had closed one of 0..2, the kernel would give us that number. */
int lift(int fd);

/* Sends HANDOVER_RUN with the caller's descriptors, and the terminal's channel, which is closed here then. */
bool send_run(int link, const struct options* options, const struct caller* caller, const char* path,
              struct terminal* terminal, struct reason* why);

/* A short message. Never blocks: what a hung deputy cannot take is dropped, and one that is gone shows at the next receive. */
void tell(int link, enum handover_kind kind, const void* body, size_t length);

/* False: the deputy is gone, or isn't one. Blocks until a whole message is there. */
bool receive(int link, struct message* message);

#endif
