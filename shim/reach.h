/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection to this user's deputy, which is started when there is none. */
#ifndef SSI_SHIM_REACH_H
#define SSI_SHIM_REACH_H

#include <stdbool.h>

#include "shim/say.h"

/* The runtime directory, made when it isn't there. NULL: *why. */
const char* runtime_directory(struct reason* why);

/* Where it is for callers without XDG_RUNTIME_DIR: the shim says so, or `ssi shell --trace` (`traced`), from where no deputy is started. */
void tell_runtime_directory(const char* path, bool traced);

/* A deputy that answers; -1: *why. Takes at most some seconds. */
int reach_deputy(const char* directory, struct reason* why);

/* Starts ssi-deputy apart from us and waits until it listens. False: *why. */
bool start_deputy(struct reason* why);

#endif
