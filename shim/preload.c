/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libssi-shim.so: the exec functions of libc, preloaded. What is not diverted goes on to the next library
 * untouched. Each function is wrapped by itself, as libc's own calls between them don't come by here. No
 * prototypes from <unistd.h> and <spawn.h>: their nonnull attributes would have the compiler delete our
 * checks. */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shim/divert.h"
#include "common/raw_syscall.h"

#define EXPORT __attribute__((visibility("default")))

typedef int (*execve_function)(const char*, char* const[], char* const[]);
typedef int (*execv_function)(const char*, char* const[]);
typedef int (*spawn_function)(pid_t*, const char*, const void*, const void*, char* const[], char* const[]);

enum { NO_SUCH_FUNCTION = 38 }; /* ENOSYS */

/* <dlfcn.h>'s and <errno.h>'s; weak, as a process without them must still start. */
extern void* dlsym(void*, const char*) __attribute__((weak));
extern int* __errno_location(void) __attribute__((weak));
static void* const rtld_next = (void*)-1L;

static struct {
  execve_function execve, execvpe;
  execv_function execv, execvp;
  spawn_function posix_spawn, posix_spawnp;
} next;

__attribute__((constructor)) static void find_next(void) {
  if (!dlsym) return;
  next.execve = (execve_function)dlsym(rtld_next, "execve");
  next.execv = (execv_function)dlsym(rtld_next, "execv");
  next.execvp = (execv_function)dlsym(rtld_next, "execvp");
  next.execvpe = (execve_function)dlsym(rtld_next, "execvpe");
  next.posix_spawn = (spawn_function)dlsym(rtld_next, "posix_spawn");
  next.posix_spawnp = (spawn_function)dlsym(rtld_next, "posix_spawnp");
}

static void set_errno(int error) {
  if (__errno_location) *__errno_location() = error;
}

static int saved_errno(void) {
  return __errno_location ? *__errno_location() : 0;
}

/* Before our constructor has run, or where the libc has no such function. */
static int fail(int error) {
  set_errno(error);
  return -1;
}

static int next_execve(const char* path, char* const argv[], char* const envp[]) {
  if (next.execve) return next.execve(path, argv, envp);
  return fail((int)-raw4(SYS_execve, (long)path, (long)argv, (long)envp, 0));
}

/* Returns only when the call is to go on as it was. */
static void exec_diverted(const struct diversion* diversion, char* const argv[], char* const envp[]) {
  if (!diversion->ssirun) return;
  const int error = saved_errno();
  char* words[EXTRA_WORDS + diversion->count + 1];
  divert_words(diversion, argv, words);
  next_execve(diversion->ssirun, words, envp);
  set_errno(error);
}

static int exec_path(const char* path, char* const argv[], char* const envp[]) {
  struct diversion diversion;
  divert_path(&diversion, path, argv, envp);
  exec_diverted(&diversion, argv, envp);
  return next_execve(path, argv, envp);
}

EXPORT int execve(const char* path, char* const argv[], char* const envp[]) {
  return exec_path(path, argv, envp);
}

EXPORT int execv(const char* path, char* const argv[]) {
  struct diversion diversion;
  divert_path(&diversion, path, argv, own_environment());
  exec_diverted(&diversion, argv, own_environment());
  return next.execv ? next.execv(path, argv) : next_execve(path, argv, own_environment());
}

EXPORT int execvp(const char* name, char* const argv[]) {
  struct diversion diversion;
  divert_name(&diversion, name, argv, own_environment(), false);
  exec_diverted(&diversion, argv, own_environment());
  return next.execvp ? next.execvp(name, argv) : fail(NO_SUCH_FUNCTION);
}

EXPORT int execvpe(const char* name, char* const argv[], char* const envp[]) {
  struct diversion diversion;
  divert_name(&diversion, name, argv, envp, false);
  exec_diverted(&diversion, argv, envp);
  return next.execvpe ? next.execvpe(name, argv, envp) : fail(NO_SUCH_FUNCTION);
}

/* The arguments of execl and its like, counted and collected. `first` is argv[0]. */
static size_t count_words(const char* first, va_list list) {
  size_t count = 0;
  for (const char* word = first; word; word = va_arg(list, const char*)) count++;
  return count;
}

static void collect_words(const char* first, va_list list, size_t count, char* words[]) {
  words[0] = (char*)(unsigned long)first;
  for (size_t i = 1; i <= count; i++) words[i] = va_arg(list, char*);
}

EXPORT int execl(const char* path, const char* first, ...) {
  va_list list;
  va_start(list, first);
  const size_t count = count_words(first, list);
  va_end(list);
  char* words[count + 1];
  va_start(list, first);
  collect_words(first, list, count, words);
  va_end(list);
  return execv(path, words);
}

EXPORT int execlp(const char* name, const char* first, ...) {
  va_list list;
  va_start(list, first);
  const size_t count = count_words(first, list);
  va_end(list);
  char* words[count + 1];
  va_start(list, first);
  collect_words(first, list, count, words);
  va_end(list);
  return execvp(name, words);
}

EXPORT int execle(const char* path, const char* first, ...) {
  va_list list;
  va_start(list, first);
  const size_t count = count_words(first, list);
  va_end(list);
  char* words[count + 1];
  va_start(list, first);
  collect_words(first, list, count, words);
  char* const* envp = va_arg(list, char* const*);
  va_end(list);
  return exec_path(path, words, envp);
}

static int spawn_diverted(const struct diversion* diversion, pid_t* pid, const void* actions,
                          const void* attributes, char* const argv[], char* const envp[]) {
  char* words[EXTRA_WORDS + diversion->count + 1];
  divert_words(diversion, argv, words);
  return next.posix_spawn(pid, diversion->ssirun, actions, attributes, words, envp);
}

EXPORT int posix_spawn(pid_t* pid, const char* path, const void* actions, const void* attributes,
                       char* const argv[], char* const envp[]) {
  if (!next.posix_spawn) return NO_SUCH_FUNCTION;
  struct diversion diversion;
  divert_path(&diversion, path, argv, envp);
  if (diversion.ssirun && !spawn_diverted(&diversion, pid, actions, attributes, argv, envp)) return 0;
  return next.posix_spawn(pid, path, actions, attributes, argv, envp);
}

/* File actions may change the directory: a relative entry of PATH would then lead elsewhere. */
EXPORT int posix_spawnp(pid_t* pid, const char* name, const void* actions, const void* attributes,
                        char* const argv[], char* const envp[]) {
  if (!next.posix_spawnp) return NO_SUCH_FUNCTION;
  struct diversion diversion;
  divert_name(&diversion, name, argv, envp, actions != NULL);
  if (diversion.ssirun && next.posix_spawn &&
      !spawn_diverted(&diversion, pid, actions, attributes, argv, envp))
    return 0;
  return next.posix_spawnp(pid, name, actions, attributes, argv, envp);
}
