/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state that the command inherits from whoever started ssirun, taken before ssirun changes any of it. */
#ifndef SSI_SHIM_CALLER_H
#define SSI_SHIM_CALLER_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/handover.h"
#include "shim/descriptors.h"

struct caller {
  struct descriptors descriptors;
  bool group_leader;
  char* cwd; /* NULL: deleted or unreachable */
  mode_t umask;
  int nice;
  sigset_t blocked, ignored;
  struct handover_limit limits[HANDOVER_LIMITS];
  char** environment; /* as passed on: without what is ours */
  uint32_t environment_count;
};

/* Before ssirun opens anything. False: it cannot be passed on, *why says why. */
bool take_caller(struct caller* caller, struct reason* why);

/* A variable of ours that switches something on: set, not empty, not "0". */
int switched_on(const char* variable);

/* A signal set as HANDOVER_RUN carries it: bit n-1 for signal n. */
uint64_t signal_bits(const sigset_t* set);

#endif
