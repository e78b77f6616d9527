/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The compiled allow-list as the shim reads it: common/allow_table.h. */
#ifndef SSI_SHIM_ALLOW_H
#define SSI_SHIM_ALLOW_H

#include <stdbool.h>

struct allow_header;

/* Where the user's table is. Told once, at the start: a program may hand on another HOME, or clear its environment. */
void allow_remember(char* const environment[]);

/* The variable that tells a program with the environment `envp` of our table, or NULL: it finds the same by itself. */
const char* allow_variable(char* const envp[]);

/* The table that holds now; NULL when there is none, or when it is switched off. Never unmapped: strings in it last as long as
 * the process. */
const struct allow_header* allow_table(void);

/* ssirun's absolute path when commands of this basename are to be diverted; else NULL. */
const char* allow_ssirun(const struct allow_header* table, const char* basename);

/* [defaults] reinject */
bool allow_reinjects(const struct allow_header* table);

#endif
