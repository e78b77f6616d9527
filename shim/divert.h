/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which executions become ssirun's. No allocation, no locks, no errno: it runs in vfork children and signal
 * handlers. */
#ifndef SSI_SHIM_DIVERT_H
#define SSI_SHIM_DIVERT_H

#include <stdbool.h>
#include <stddef.h>

enum { MOST_ARGUMENTS = 4096, FOUND_SIZE = 4096 };

/* Words that go before the job's argv: ssirun --exec PATH -- */
enum { EXTRA_WORDS = 4 };

struct diversion {
  const char* ssirun; /* NULL: leave the call alone */
  const char* path;   /* what was to be executed */
  size_t count;       /* of its arguments */
  char found[FOUND_SIZE];
};

/* For a path: execve(2). */
void divert_path(struct diversion* diversion, const char* path, char* const argv[], char* const envp[]);

/* For a name that is looked up on the caller's PATH: execvp(3). `absolute`: only where PATH's entry is. */
void divert_name(struct diversion* diversion, const char* name, char* const argv[], char* const envp[],
                 bool absolute);

/* ssirun's argv. `words` has room for EXTRA_WORDS + count + 1. */
void divert_words(const struct diversion* diversion, char* const argv[], char* words[]);

/* The environment of this process. */
char** own_environment(void);

#endif
