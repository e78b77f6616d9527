// SPDX-License-Identifier: LGPL-2.1-or-later
// Many open files: up to the process's own limit, and beyond it EMFILE.
#include <sys/resource.h>

#include "check.h"

int main(int argc, char** argv) {
  enter(argc, argv);
  enum { many = 900 };
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = many + 50 < limit.rlim_max ? many + 50 : limit.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  static int fds[many + 100];
  char name[32], got[32];
  int count = 0;
  for (;; ++count) {
    snprintf(name, sizeof name, "file-%d", count);
    if ((fds[count] = open(name, O_RDWR | O_CREAT, 0666)) < 0) break;
    CHECK(count < many + 60 && write(fds[count], name, sizeof name) == sizeof name);
  }
  CHECK(errno == EMFILE && count > many - 20);
  for (int i = 0; i < count; ++i) {
    snprintf(name, sizeof name, "file-%d", i);
    CHECK(pread(fds[i], got, sizeof got, 0) == sizeof got && strcmp(got, name) == 0 && close(fds[i]) == 0);
  }
  return 0;
}
