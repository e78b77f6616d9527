/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which executions become ssirun's. No allocation, no locks, no errno: it runs in vfork children and signal
 * handlers. */
#ifndef SSI_SHIM_DIVERT_H
#define SSI_SHIM_DIVERT_H

#include <stdbool.h>
#include <stddef.h>

struct allow_header;

enum { MOST_ARGUMENTS = 4096, FOUND_SIZE = 4096 };

/* Words that go before the job's argv, at most: ssirun --exec PATH [--runtime DIRECTORY] -- */
enum { EXTRA_WORDS = 6 };

/* The cheap part, of a path or a name: ssirun's path if its basename is to be diverted, and its arguments are such that we can put
 * others before; else NULL. Any of the pointers may be NULL, as a program may pass what it likes. */
const char* divert_wanted(const struct allow_header* table, const char* file, char* const argv[], char* const envp[]);

/* What execve(2) would run at `path`: a regular file, executable, of a format that it knows. */
bool divert_path(const char* path);

/* What execvp(3) would run as `name`, which has no slash, on the caller's PATH: its path, written to `found`, or NULL. `absolute`: only
 * where PATH's entry is. */
const char* divert_name(const char* name, bool absolute, char found[FOUND_SIZE]);

/* The path by which fexecve(3)'s descriptor can be executed instead, or NULL. */
const char* divert_descriptor(int descriptor, char found[FOUND_SIZE]);

/* ssirun's argv for `count` arguments and this environment. `words` has room for EXTRA_WORDS + count + 1. */
void divert_words(const char* ssirun, const char* path, char* const argv[], size_t count, char* const envp[], char* words[]);

/* Once, at the start: what leads to this process's deputy (XDG_RUNTIME_DIR). Where an environment lacks it ssirun is told, or it would
 * start another one. */
void divert_remember(char* const environment[]);

/* By a debugger, which would be shown ssirun in its program's place; a traced command is one for home anyway. */
bool is_traced(void);

/* SSI_DISABLE is set here, or where the program is going to run. */
bool is_disabled(char* const envp[]);

/* The environment of this process. */
char** own_environment(void);

#endif
