/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LD_PRELOAD where a program starts others with an environment of its own making, which merely omits it: build systems do. */
#ifndef SSI_SHIM_REINJECT_H
#define SSI_SHIM_REINJECT_H

struct allow_header;

/* By which entry of LD_PRELOAD we are here. Told once, at the start. */
void reinject_remember(char* const environment[]);

/* The variable ("LD_PRELOAD=...") that is to be added to `envp` for the program `file`, or NULL. Others' entries are not brought back:
 * who dropped them may have meant to. */
const char* reinject_variable(const struct allow_header* table, const char* file, char* const envp[]);

#endif
