/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int executable_error(const char* path) {
  struct stat file;
  if (stat(path, &file)) return errno;
  if (!S_ISREG(file.st_mode)) return EACCES; /* as execve(2) has it */
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? errno : 0;
}

/* The errors for which execvp looks at the next directory. */
static bool skipped(int error) {
  return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV ||
         error == ETIMEDOUT;
}

char* joined(const char* directory, size_t length, const char* name) {
  char* path = malloc(length + strlen(name) + 2);
  if (!path) return NULL;
  memcpy(path, directory, length);
  if (length) path[length++] = '/';
  strcpy(path + length, name);
  return path;
}

char* resolve_command(const char* name, int* error) {
  *error = ENOENT;
  if (!*name) return NULL;
  if (strchr(name, '/')) {
    *error = executable_error(name);
    return *error ? NULL : strdup(name);
  }
  const char* directories = getenv("PATH");
  if (!directories) directories = "/bin:/usr/bin"; /* confstr(_CS_PATH) of glibc */
  bool denied = false;
  for (;;) {
    size_t length = strcspn(directories, ":");
    char* path = joined(directories, length, name);
    int problem = path ? executable_error(path) : ENOMEM;
    if (!problem) {
      *error = 0;
      return path;
    }
    free(path);
    denied |= problem == EACCES;
    if (!skipped(problem)) {
      *error = problem;
      return NULL;
    }
    if (!directories[length]) break;
    directories += length + 1;
  }
  *error = denied ? EACCES : ENOENT;
  return NULL;
}
