/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun in the place of a program by `ssi shell --trace`, which says in a descriptor what program that is. */
#ifndef SSI_SHIM_TRACED_H
#define SSI_SHIM_TRACED_H

/* That program's path, as it was given to execve(2); to be freed. NULL: ssirun was not started so. Closes what has told
 * it. */
char* traced_program(void);

#endif
