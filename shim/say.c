/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static int own_stderr = 2;

void say_on(int fd) {
  own_stderr = fd;
}

void say_nowhere(void) {
  if (own_stderr >= 0) close(own_stderr);
  own_stderr = -1;
}

void say(const char* format, ...) {
  /* One write(2) per line, so that lines of parallel commands don't mix. */
  char line[1024] = "ssirun: ";
  const int prefix = 8;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line + prefix, sizeof line - (size_t)prefix - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  int room = (int)sizeof line - prefix - 2;
  int end = prefix + (length < room ? length : room);
  line[end++] = '\n';
  ssize_t written = write(own_stderr, line, (size_t)end);
  (void)written; /* nobody else to tell */
}

void say_for_now(const char* line) {
  static bool shown;
  if (!*line && !shown) return;
  if (!isatty(2) || tcgetpgrp(2) != getpgrp()) return;
  shown = *line;
  char text[256];
  int length = snprintf(text, sizeof text, "\r%s%s\033[K", shown ? "ssirun: " : "", line);
  if (length >= (int)sizeof text) return;
  ssize_t written = write(2, text, (size_t)length);
  (void)written;
}

void because(struct reason* reason, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason->text, sizeof reason->text, format, arguments);
  va_end(arguments);
}
