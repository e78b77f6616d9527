/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun mounted over a program's file (`ssi shell --deep`), and where the file below can be reached. */
#ifndef SSI_SHIM_BOUND_H
#define SSI_SHIM_BOUND_H

#include <stdbool.h>
#include <stddef.h>

/* The program that ssirun covers at `path`; to be freed. NULL: none, so it is ssirun itself. */
char* bound_original(const char* path);

/* The path of the program that this process covers, when it is started by its name; to be freed. NULL: it covers none. */
char* bound_program(const char* started_as);

/* Whether this is inside `ssi shell --deep`: a deputy that is started here would take ssirun for the programs. */
bool in_deep_shell(void);

/* The runtime directory of who has started that shell. False: it is none. */
bool deep_runtime_directory(char* path, size_t size);

#endif
