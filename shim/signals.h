/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun's signals, while the deputy has the command. There are no handlers: they are blocked and read from a
 * descriptor, so that none can come between two steps. */
#ifndef SSI_SHIM_SIGNALS_H
#define SSI_SHIM_SIGNALS_H

#include <stdbool.h>

#include "shim/caller.h"

/* What goes to the job: everything that can be caught, but what the caller had ignored. Until the job has
 * `started`, what the caller had blocked stays pending for whoever runs in the end. */
sigset_t forwarded_signals(const struct caller* caller, bool started);

/* From before the deputy can know of the job, and until it falls home. */
void hold_signals(const struct caller* caller);
void release_signals(const struct caller* caller);

/* As if the signal had not been blocked. It is never ignored nor caught, so that its default is what happens.
 */
void act_by_default(int number);

/* Ends ssirun as the job ended. Returns only when that is not possible. */
void die_by(int number);

#endif
