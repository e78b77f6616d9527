/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libssi-shim.so: the functions of libc that execute, preloaded. What is not diverted goes on to the next library's
 * function of the same name, untouched. Each function is wrapped by itself, as libc's own calls between them don't
 * come by here. fork, vfork and clone are not wrapped (a vfork wrapper would return on its child's stack); system and
 * popen need not be, since the sh that they start has the shim. No prototypes from <unistd.h> and <spawn.h>: their
 * nonnull attributes would have the compiler delete our checks. All is on the stack, little of it unless a call is
 * diverted: a signal handler's stack may be small. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shim/allow.h"
#include "shim/divert.h"
#include "shim/reinject.h"
#include "common/raw_syscall.h"
#include "shim/text.h"

#define EXPORT __attribute__((visibility("default")))

/* <dlfcn.h>'s and <errno.h>'s; weak, as a process without them must still start. */
extern void* dlsym(void*, const char*) __attribute__((weak));
extern char* dlerror(void) __attribute__((weak));
extern int* __errno_location(void) __attribute__((weak));
static void* const rtld_next = (void*)-1L;

static struct {
  int (*execve)(const char*, char* const[], char* const[]);
  int (*execvpe)(const char*, char* const[], char* const[]);
  int (*execv)(const char*, char* const[]);
  int (*execvp)(const char*, char* const[]);
  int (*fexecve)(int, char* const[], char* const[]);
  int (*execveat)(int, const char*, char* const[], char* const[], int);
  int (*posix_spawn)(pid_t*, const char*, const void*, const void*, char* const[], char* const[]);
  int (*posix_spawnp)(pid_t*, const char*, const void*, const void*, char* const[], char* const[]);
} next;

/* Also called where it has not run yet: the libraries of a program are initialised before those that are preloaded. */
__attribute__((constructor)) static void start(void) {
  allow_remember(own_environment());
  reinject_remember(own_environment());
  divert_remember(own_environment());
  if (!dlsym) return;
  const struct {
    const char* name;
    void** function;
  } all[] = {{"execve", (void**)&next.execve},     {"execvpe", (void**)&next.execvpe},
             {"execv", (void**)&next.execv},       {"execvp", (void**)&next.execvp},
             {"fexecve", (void**)&next.fexecve},   {"execveat", (void**)&next.execveat},
             {"posix_spawn", (void**)&next.posix_spawn}, {"posix_spawnp", (void**)&next.posix_spawnp}};
  bool missing = false; /* musl has no execveat */
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) missing |= !(*all[i].function = dlsym(rtld_next, all[i].name));
  if (missing && dlerror) dlerror(); /* the program must not be told of our error */
}

/* NULL: this libc has no such function. */
#define NEXT(function) (next.function || (start(), next.function))

enum found { BY_PATH, BY_NAME, BY_DESCRIPTOR };

/* One call of the program's. */
struct call {
  int (*on)(const struct call*, char* const envp[]); /* to the next library. 0 of a spawn that is done, else an errno */
  enum found by; /* the file to execute */
  const char* file;
  int descriptor, flags;
  char* const* argv;
  char* const* envp;
  bool is_spawn;
  pid_t* pid;
  const void *actions, *attributes;
};

static int* error_number(void) {
  static int none;
  return __errno_location ? __errno_location() : &none;
}

/* Before our constructor has run, or where the libc has no such function. */
static int next_execve(const char* path, char* const argv[], char* const envp[]) {
  if (!next.execve) return (int)-raw4(SYS_execve, (long)path, (long)argv, (long)envp, 0);
  next.execve(path, argv, envp);
  return *error_number();
}

/* Returns when the call is to go on as it was, but for a spawn that is done: 0. */
__attribute__((noinline)) static int run_diverted(const struct allow_header* table, const struct call* call,
                                                  char* const envp[]) {
  char found[FOUND_SIZE];
  const char* path = NULL;
  if (call->by == BY_DESCRIPTOR)
    path = divert_descriptor(call->descriptor, found);
  else if (call->by == BY_PATH || text_has(call->file, '/'))
    path = divert_path(call->file) ? call->file : NULL;
  else /* File actions may change the directory: a relative entry of PATH would then lead elsewhere. */
    path = divert_name(call->file, call->actions != NULL, found);
  const char* ssirun = divert_wanted(table, path, call->argv, envp);
  if (!ssirun || is_traced()) return ENOENT;
  const size_t count = text_count(call->argv, MOST_ARGUMENTS);
  const int error = *error_number();
  char* words[EXTRA_WORDS + count + 1];
  divert_words(ssirun, path, call->argv, count, envp, words);
  if (call->is_spawn && next.posix_spawn &&
      !next.posix_spawn(call->pid, ssirun, call->actions, call->attributes, words, envp))
    return 0;
  if (!call->is_spawn) next_execve(ssirun, words, envp);
  *error_number() = error; /* E2BIG perhaps, by our words; the command itself may fit */
  return ENOENT;
}

static int run_with(const struct allow_header* table, const struct call* call, char* const envp[]) {
  if ((call->by == BY_DESCRIPTOR || divert_wanted(table, call->file, call->argv, envp)) &&
      !run_diverted(table, call, envp))
    return 0;
  return call->on(call, envp);
}

__attribute__((noinline)) static int run_reinjected(const struct allow_header* table, const struct call* call,
                                                    const char* variable) {
  const size_t count = text_count(call->envp, MOST_ARGUMENTS);
  if (count > MOST_ARGUMENTS) return E2BIG;
  char* envp[count + 3];
  for (size_t i = 0; i < count; i++) envp[i] = call->envp[i];
  envp[count] = (char*)(unsigned long)variable;
  envp[count + 1] = (char*)(unsigned long)allow_variable(call->envp);
  envp[count + 2] = NULL;
  return run_with(table, call, envp);
}

static int run(const struct call* call) {
  const struct allow_header* table = allow_table();
  if (!table) return call->on(call, call->envp);
  const char* variable = call->by == BY_DESCRIPTOR ? NULL : reinject_variable(table, call->file, call->envp);
  if (variable) {
    const int error = run_reinjected(table, call, variable);
    if (error != E2BIG) return error;
  }
  return run_with(table, call, call->envp);
}

static int run_exec(const struct call* call) {
  *error_number() = run(call);
  return -1;
}

static int on_execve(const struct call* call, char* const envp[]) {
  return next_execve(call->file, call->argv, envp);
}

static int on_execv(const struct call* call, char* const envp[]) {
  if (!next.execv || envp != call->envp) return on_execve(call, envp);
  next.execv(call->file, call->argv);
  return *error_number();
}

static int on_execvpe(const struct call* call, char* const envp[]) {
  if (!NEXT(execvpe)) return ENOSYS;
  next.execvpe(call->file, call->argv, envp);
  return *error_number();
}

static int on_execvp(const struct call* call, char* const envp[]) {
  if (!NEXT(execvp) || envp != call->envp) return on_execvpe(call, envp);
  next.execvp(call->file, call->argv);
  return *error_number();
}

static int on_execveat(const struct call* call, char* const envp[]) {
  if (!next.execveat)
    return (int)-raw6(SYS_execveat, call->descriptor, (long)call->file, (long)call->argv, (long)envp, call->flags, 0);
  next.execveat(call->descriptor, call->file, call->argv, envp, call->flags);
  return *error_number();
}

static int on_fexecve(const struct call* call, char* const envp[]) {
  if (!NEXT(fexecve)) return ENOSYS;
  next.fexecve(call->descriptor, call->argv, envp);
  return *error_number();
}

static int on_posix_spawn(const struct call* call, char* const envp[]) {
  return NEXT(posix_spawn) ? next.posix_spawn(call->pid, call->file, call->actions, call->attributes, call->argv, envp)
                           : ENOSYS;
}

static int on_posix_spawnp(const struct call* call, char* const envp[]) {
  return NEXT(posix_spawnp) ? next.posix_spawnp(call->pid, call->file, call->actions, call->attributes, call->argv, envp)
                            : ENOSYS;
}

static int exec_by(enum found by, int (*on)(const struct call*, char* const[]), const char* file, char* const argv[],
                   char* const envp[]) {
  return run_exec(&(struct call){.on = on, .by = by, .file = file, .argv = argv, .envp = envp});
}

EXPORT int execve(const char* path, char* const argv[], char* const envp[]) {
  return exec_by(BY_PATH, on_execve, path, argv, envp);
}

EXPORT int execv(const char* path, char* const argv[]) {
  return exec_by(BY_PATH, on_execv, path, argv, own_environment());
}

EXPORT int execvp(const char* name, char* const argv[]) {
  return exec_by(BY_NAME, on_execvp, name, argv, own_environment());
}

EXPORT int execvpe(const char* name, char* const argv[], char* const envp[]) {
  return exec_by(BY_NAME, on_execvpe, name, argv, envp);
}

/* By this name too in some versions of musl. */
EXPORT int __execvpe(const char* name, char* const argv[], char* const envp[]) __attribute__((alias("execvpe")));

EXPORT int fexecve(int descriptor, char* const argv[], char* const envp[]) {
  return run_exec(&(struct call){
      .on = on_fexecve, .by = BY_DESCRIPTOR, .descriptor = descriptor, .argv = argv, .envp = envp});
}

/* What has a directory's descriptor, or flags, that mean something stays as it is. */
EXPORT int execveat(int descriptor, const char* path, char* const argv[], char* const envp[], int flags) {
  struct call call = {.on = on_execveat, .by = BY_PATH, .file = path, .descriptor = descriptor, .flags = flags,
                      .argv = argv, .envp = envp};
  const bool has_path = (unsigned long)path != 0;
  if (has_path && flags == AT_EMPTY_PATH && !*path)
    call.by = BY_DESCRIPTOR;
  else if (!has_path || flags || (descriptor != AT_FDCWD && *path != '/')) {
    *error_number() = on_execveat(&call, envp);
    return -1;
  }
  return run_exec(&call);
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
  return exec_by(BY_PATH, on_execv, path, words, own_environment());
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
  return exec_by(BY_NAME, on_execvp, name, words, own_environment());
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
  return exec_by(BY_PATH, on_execve, path, words, envp);
}

EXPORT int posix_spawn(pid_t* pid, const char* path, const void* actions, const void* attributes,
                       char* const argv[], char* const envp[]) {
  return run(&(struct call){.on = on_posix_spawn, .by = BY_PATH, .file = path, .argv = argv, .envp = envp,
                            .is_spawn = true, .pid = pid, .actions = actions, .attributes = attributes});
}

EXPORT int posix_spawnp(pid_t* pid, const char* name, const void* actions, const void* attributes,
                        char* const argv[], char* const envp[]) {
  return run(&(struct call){.on = on_posix_spawnp, .by = BY_NAME, .file = name, .argv = argv, .envp = envp,
                            .is_spawn = true, .pid = pid, .actions = actions, .attributes = attributes});
}
