/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts ssi-deputy with nothing of ours but who we are: it will serve other commands, of other terminals. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/deputy_link.h"
#include "shim/reach.h"

enum { START_MS = 3000 };

/* SSI_LOG: the only way to have a deputy that was started on demand say more. */
static const char* const kept[] = {
    "HOME=", "PATH=", "USER=", "LOGNAME=", "LANG=", "LC_", "TZ=", "XDG_", "SSI_LOG="};

static char** clean_environment(void) {
  size_t count = 0, used = 0;
  while (environ && environ[count]) count++;
  char** clean = calloc(count + 1, sizeof *clean);
  if (!clean) return NULL;
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
      if (!strncmp(environ[i], kept[k], strlen(kept[k]))) {
        clean[used++] = environ[i];
        break;
      }
  return clean;
}

/* Beside ssirun, in the build tree, where it is installed. */
static bool find_deputy(char path[PATH_MAX]) {
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) return false;
  self[length] = 0;
  char* slash = strrchr(self, '/');
  if (slash) *slash = 0;
  static const char* const places[] = {"/ssi-deputy", "/../deputy/ssi-deputy"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    int used = snprintf(path, PATH_MAX, "%s%s", self, places[i]);
    if (used > 0 && used < PATH_MAX && !access(path, X_OK)) return true;
  }
  snprintf(path, PATH_MAX, "%s", SSI_LIBDIR "/ssi-deputy");
  return !access(path, X_OK);
}

/* Limits that the caller put on itself must not end a process that serves others; the hard ones stay. */
static void raise_limits(void) {
  static const int limits[] = {RLIMIT_CPU,   RLIMIT_FSIZE,  RLIMIT_DATA,    RLIMIT_RSS,
                               RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)limits[i], &limit)) continue;
    limit.rlim_cur = limit.rlim_max;
    setrlimit((__rlimit_resource_t)limits[i], &limit);
  }
}

static void default_signals(void) {
  for (int number = 1; number <= 64; number++) signal(number, SIG_DFL); /* fails for KILL and STOP */
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become_deputy(const char* path, int ready, char** environment) {
  const int ready_fd = 3;
  if (ready != ready_fd && dup2(ready, ready_fd) < 0) _exit(1);
  fcntl(ready_fd, F_SETFD, 0);
  syscall(SYS_close_range, ready_fd + 1, ~0u, 0);
  for (int fd = 0; fd <= 2; fd++) close(fd);
  if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2) _exit(1);
  if (chdir("/")) _exit(1);
  umask(022);
  raise_limits();
  default_signals();
  char* arguments[] = {strdup("ssi-deputy"), strdup("--ready-fd"), strdup("3"), NULL};
  syscall(SYS_execve, path, arguments, environment);
  _exit(127);
}

/* Twice, so that init and not our caller gets the deputy's end. */
static bool fork_twice(const char* path, int ready, char** environment) {
  pid_t child = fork();
  if (child < 0) return false;
  if (!child) {
    setsid();
    pid_t grandchild = fork();
    if (!grandchild) become_deputy(path, ready, environment);
    _exit(grandchild < 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return !status; /* or ECHILD, where the caller ignores SIGCHLD: then the pipe will tell */
}

static bool wait_ready(int ready, struct reason* why) {
  struct pollfd wait = {ready, POLLIN, 0};
  int answer = 0;
  while ((answer = poll(&wait, 1, START_MS)) < 0 && errno == EINTR) continue;
  char line[200] = "";
  ssize_t got = answer > 0 ? read(ready, line, sizeof line - 1) : 0;
  if (got == 1 && !*line) return true;
  if (got > 0)
    because(why, "ssi-deputy: %s", line);
  else if (answer > 0)
    because(why, "ssi-deputy ended at its start: see its log");
  else
    because(why, "ssi-deputy was not ready within %d s", START_MS / 1000);
  return false;
}

bool start_deputy(struct reason* why) {
  char path[PATH_MAX];
  if (!find_deputy(path)) {
    because(why, "ssi-deputy is not installed");
    return false;
  }
  char** environment = clean_environment();
  int ready[2];
  if (!environment || pipe2(ready, O_CLOEXEC)) {
    because(why, "%s", strerror(errno));
    return false;
  }
  ready[0] = lift(ready[0]);
  ready[1] = lift(ready[1]);
  bool forked = fork_twice(path, ready[1], environment);
  if (!forked) because(why, "fork: %s", strerror(errno));
  close(ready[1]);
  bool started = forked && wait_ready(ready[0], why);
  close(ready[0]);
  free(environment);
  return started;
}
