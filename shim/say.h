/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What ssirun says to its user: one line on stderr, "ssirun: …". */
#ifndef SSI_SHIM_SAY_H
#define SSI_SHIM_SAY_H

/* ssirun's own failures, as env(1), nice(1) and the shells number them. */
enum { STATUS_FAILED = 125, STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127 };

/* Why something is not possible: one line, without newline. */
struct reason {
  char text[512];
};

void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
void because(struct reason* reason, const char* format, ...) __attribute__((format(printf, 2, 3)));

/* A line that is rewritten by the next one, and erased by "". Only on a terminal of whose foreground we are. */
void say_for_now(const char* line);

/* Lines go to `fd` from now on: the job's stderr is not ours once it has started. */
void say_on(int fd);

/* Closes it: nobody hears what is said from now on. */
void say_nowhere(void);

#endif
