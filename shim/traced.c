/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/traced.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "common/traced_program.h"
#include "shim/reach.h"

static bool tells_program(int directory, const char* number) {
  static const char wanted[] = "/memfd:" TRACED_PROGRAM " (deleted)";
  char text[sizeof wanted + 1];
  const ssize_t length = readlinkat(directory, number, text, sizeof text);
  return length == sizeof wanted - 1 && !memcmp(text, wanted, sizeof wanted - 1);
}

static char* read_program(int fd) {
  char text[2 * PATH_MAX];
  const ssize_t length = pread(fd, text, sizeof text - 1, 0);
  if (length <= 0) return NULL;
  text[length] = 0;
  const size_t path = strlen(text);
  if (path + 1 < (size_t)length) tell_runtime_directory(text + path + 1, true);
  return strdup(text);
}

char* traced_program(void) {
  /* That is the path of what execveat(2) was given as a descriptor. */
  const char* start = (const char*)(uintptr_t)getauxval(AT_EXECFN);
  if (!start || strncmp(start, "/dev/fd/", 8) != 0) return NULL;
  DIR* open_files = opendir("/proc/self/fd");
  char* program = NULL;
  const struct dirent* entry;
  while (open_files && (entry = readdir(open_files))) {
    if (!tells_program(dirfd(open_files), entry->d_name)) continue;
    const int fd = atoi(entry->d_name);
    if (!program) program = read_program(fd); /* one that was withdrawn says the same */
    close(fd);
  }
  if (open_files) closedir(open_files);
  return program;
}
