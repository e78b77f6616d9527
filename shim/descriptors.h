/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The descriptors that the command inherits. */
#ifndef SSI_SHIM_DESCRIPTORS_H
#define SSI_SHIM_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/handover.h"
#include "shim/say.h"

struct descriptors {
  uint32_t count;
  struct handover_descriptor list[HANDOVER_DESCRIPTORS]; /* ascending */
};

/* Finds what is open. Before ssirun opens anything of its own. */
bool take_descriptors(struct descriptors* descriptors, struct reason* why);

/* The lowest number that is the caller's terminal, or -1. */
int terminal_number(const struct descriptors* descriptors);

/* Closes the caller's: the job alone holds them from now on, or a reader would not see their end, nor a writer SIGPIPE. */
void close_descriptors(const struct descriptors* descriptors);

/* `fds`, which came back in the list's order, take their numbers again. */
void put_back(const struct descriptors* descriptors, const int* fds, uint32_t count);

#endif
