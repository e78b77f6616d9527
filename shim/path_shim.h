/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun under another name: a link on PATH that `ssi shims install` has made. It stands for the program of that name
 * which PATH would find without it. */
#ifndef SSI_SHIM_PATH_SHIM_H
#define SSI_SHIM_PATH_SHIM_H

#include <stdbool.h>

/* The path by which this process was started: as execve(2) was told, or for the interpreter of a script, argv[0]. */
const char* started_as(char** argv);

/* Whether that path's name is another program's and not one of ours. */
bool is_other_name(const char* path);

/* Whether `path` is the very file that runs here, by whatever links. */
bool is_self(const char* path);

/* The program that the link `shim` stands for; to be freed. NULL: *error. Compiler wrappers look for the next program
 * of their name themselves, so this takes the link's directory out of PATH for them. */
char* behind_shim(const char* shim, int* error);

#endif
