/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which file a command name means, as execvp(3) would find it. */
#ifndef SSI_SHIM_RESOLVE_H
#define SSI_SHIM_RESOLVE_H

#include <stddef.h>

/* The path to exec, as execvp would pass it to the kernel (relative when the caller or PATH is); to be freed.
 * NULL: *error tells why, ENOENT when there is no such command. */
char* resolve_command(const char* name, int* error);

/* 0, or the errno that executing `path` would give for what can be told from outside. */
int executable_error(const char* path);

/* NAME in an entry of PATH; to be freed. An empty entry means the working directory: the bare name, as glibc has it. */
char* joined(const char* directory, size_t length, const char* name);

#endif
