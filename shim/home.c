/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/home.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/bound.h"
#include "shim/path_shim.h"
#include "shim/say.h"

/* By system call: libc's execve may be the shim's, which would send us round in a circle. */
static void exec_raw(const char* path, char* const argv[]) {
  syscall(SYS_execve, path, argv, environ);
}

/* A file without a known format is a shell script, as for execvp(3). */
static void exec_shell(const char* path, char* const argv[]) {
  size_t count = 0;
  while (argv[count]) count++;
  char** shell = calloc(count + 3, sizeof *shell);
  if (!shell) return;
  shell[0] = strdup("/bin/sh");
  shell[1] = strdup(path);
  if (count) memcpy(shell + 2, argv + 1, count * sizeof *shell);
  exec_raw("/bin/sh", shell);
}

int cannot_execute(const char* name, int error) {
  if (error == ENOENT && !strchr(name, '/'))
    say("%s: command not found", name);
  else
    say("%s: %s", name, strerror(error));
  return error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
}

int exec_at_home(const char* path, char* const argv[]) {
  char* original = is_self(path) ? bound_original(path) : NULL;
  if (original) path = original;
  exec_raw(path, argv);
  if (errno == ENOEXEC) exec_shell(path, argv);
  return cannot_execute(path, errno);
}
