/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/handover.h"
#include "shim/bound.h"
#include "shim/deputy_link.h"

enum { TURN_MS = 10, PATIENCE_MS = 4000 }; /* longer than a deputy's start may take: 3 s */

static void make_directories(char* path) {
  for (char* slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
  }
  mkdir(path, 0700); /* that it failed shows when it is looked at */
}

static char told[PATH_MAX];
static bool told_by_trace;

void tell_runtime_directory(const char* path, bool traced) {
  snprintf(told, sizeof told, "%s", path);
  told_by_trace = traced;
}

const char* runtime_directory(struct reason* why) {
  static char path[PATH_MAX];
  const char* base = getenv("XDG_RUNTIME_DIR");
  int length = 0;
  if (base && *base == '/')
    length = snprintf(path, sizeof path, "%s/ssi", base);
  else if (!base && *told)
    length = snprintf(path, sizeof path, "%s", told);
  else if (!base && deep_runtime_directory(path, sizeof path))
    length = (int)strlen(path);
  else
    length = snprintf(path, sizeof path, "/tmp/ssi-%u", geteuid());
  if (length < 0 || (size_t)length >= sizeof path) {
    because(why, "XDG_RUNTIME_DIR: %s", strerror(ENAMETOOLONG));
    return NULL;
  }
  struct stat directory;
  if (lstat(path, &directory)) make_directories(path);
  if (stat(path, &directory)) {
    because(why, "%s: %s", path, strerror(errno));
  } else if (directory.st_uid != geteuid()) {
    because(why, "%s: belongs to another user (uid %u)", path, directory.st_uid);
  } else if (!S_ISDIR(directory.st_mode) || directory.st_mode & 077) {
    because(why, "%s: is not a directory that only we may use: chmod 700 it", path);
  } else {
    return path;
  }
  return NULL;
}

static int connect_deputy(const char* directory, struct reason* why) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory, HANDOVER_SOCKET);
  if (length < 0 || (size_t)length >= sizeof address.sun_path) {
    because(why, "%s/%s: the path is too long for a socket", directory, HANDOVER_SOCKET);
    return -1;
  }
  int link = lift(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (link >= 0 && !connect(link, (struct sockaddr*)&address, sizeof address)) return link;
  because(why, "connect %s: %s", address.sun_path, strerror(errno));
  if (link >= 0) close(link);
  return -1;
}

/* One ssirun starts the deputy, the others wait for it. Never waits for the lock itself: its holder may be
 * stopped. */
int reach_deputy(const char* directory, struct reason* why) {
  int link = connect_deputy(directory, why);
  if (link >= 0) return link;
  const bool is_traced = told_by_trace || getenv("SSI_TRACE");
  if (is_traced || in_deep_shell()) {
    because(why, "no deputy runs, and 'ssi shell --%s' is no place to start one: run ssirun outside",
            is_traced ? "trace" : "deep");
    return -1;
  }
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/deputy.lock", directory);
  int lock = lift(open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock < 0) {
    because(why, "%s: %s", path, strerror(errno));
    return -1;
  }
  for (int waited = 0; link < 0 && waited < PATIENCE_MS; waited += TURN_MS) {
    if (!flock(lock, LOCK_EX | LOCK_NB)) {
      /* Whoever had the lock before us may have started it. */
      link = connect_deputy(directory, why);
      if (link < 0 && start_deputy(why)) link = connect_deputy(directory, why);
      break;
    }
    nanosleep(&(struct timespec){0, TURN_MS * 1000000L}, NULL);
    link = connect_deputy(directory, why);
  }
  close(lock);
  return link;
}
