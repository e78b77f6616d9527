/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/title.h"

#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

void take_title(char** argv, char** command, const char* path) {
  const char* slash = strrchr(path, '/');
  prctl(PR_SET_NAME, slash ? slash + 1 : path);
  char** last = command;
  while (last[0] && last[1]) last++;
  if (!*last) return;
  /* execve(2) lays the strings out one behind the other, in order. */
  char* front = argv[0];
  const char* end = *last + strlen(*last) + 1;
  if (front >= command[0]) return;
  const size_t length = (size_t)(end - command[0]);
  const ptrdiff_t shift = command[0] - front;
  memmove(front, command[0], length);
  memset(front + length, 0, (size_t)(end - (front + length)));
  for (char** it = command; *it; it++) *it -= shift;
}
