/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How `ssi shell --trace` tells the ssirun that it has put in a program's place which one that is. Plain C. */
#ifndef SSI_COMMON_TRACED_PROGRAM_H
#define SSI_COMMON_TRACED_PROGRAM_H

/* The name of a memfd that ssirun inherits. It holds the path as execve(2) was told, NUL, the runtime directory, NUL. */
#define TRACED_PROGRAM "ssi-program"

#endif
