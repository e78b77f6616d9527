// SPDX-License-Identifier: LGPL-2.1-or-later
// On a small file system (2 MiB): what does not fit is refused at the call that asks for it, and what fitted stays.
#include <sys/mman.h>

#include "check.h"

static off_t write_until_full(int fd) {
  static char bytes[100000];
  off_t all = 0;
  fill(bytes, sizeof bytes, 1);
  for (ssize_t put; (put = write(fd, bytes, sizeof bytes)) >= 0; all += put)
    CHECK(put > 0 && all < (64 << 20));
  CHECK(errno == ENOSPC);
  return all;
}

int main(int argc, char** argv) {
  enter(argc, argv);
  int fd = open("big", O_RDWR | O_CREAT, 0666);
  const off_t all = write_until_full(fd);
  CHECK(all > 500000 && stat_fd(fd).st_size == all);
  static char bytes[100000];
  CHECK(pread(fd, bytes, sizeof bytes, 300000) == 100000 && is_filled(bytes, sizeof bytes, 1));
  // A write that fits in part is cut; so is the next, to nothing.
  int other = open("other", O_WRONLY | O_CREAT, 0666);
  if (other >= 0) {
    FAILS(write(other, bytes, sizeof bytes), ENOSPC);
    CHECK(stat_fd(other).st_size == 0);
    FAILS(fallocate(other, 0, 0, 1 << 20), ENOSPC);
    CHECK(close(other) == 0);
  } else {
    CHECK(errno == ENOSPC);
  }
  // Names that need a block of their own.
  char name[32];
  int made = 0;
  for (; made < 5000; ++made) {
    snprintf(name, sizeof name, "dir-%d", made);
    if (mkdir(name, 0777) != 0) break;
  }
  CHECK(made == 5000 || errno == ENOSPC);
  // Room again.
  CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, "fits", 4, 0) == 4 && fsync(fd) == 0 && close(fd) == 0);
  CHECK(unlink("big") == 0 && mkdir("room", 0777) == 0);
  fd = open("big", O_RDWR | O_CREAT, 0666);
  CHECK(fallocate(fd, 0, 0, 1 << 19) == 0);
  tell("more than there is", fallocate(fd, 0, 0, 1 << 30));
  CHECK(pwrite(fd, bytes, sizeof bytes, 0) == sizeof bytes && close(fd) == 0);
  return 0;
}
