/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun mounted over a program's file (`ssi shell --deep`), and where the file below can be reached. */
#ifndef SSI_SHIM_BOUND_H
#define SSI_SHIM_BOUND_H

/* The program that ssirun covers at `path`; to be freed. NULL: none, so it is ssirun itself. */
char* bound_original(const char* path);

/* The path of the program that this process covers, when it is started by its name; to be freed. NULL: it covers none. */
char* bound_program(const char* started_as);

#endif
