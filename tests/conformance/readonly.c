// SPDX-License-Identifier: LGPL-2.1-or-later
// A read-only file system, in which `file` (5 bytes) and `dir` are: everything that would change it is EROFS.
#include <sys/xattr.h>

#include "check.h"

int main(int argc, char** argv) {
  CHECK(argc > 1 && chdir(argv[1]) == 0);
  char bytes[10];
  const int fd = open("file", O_RDONLY);
  CHECK(fd >= 0 && read(fd, bytes, 10) == 5);
  FAILS(open("file", O_WRONLY), EROFS);
  FAILS(open("file", O_RDWR | O_APPEND), EROFS);
  FAILS(open("file", O_RDONLY | O_TRUNC), EROFS);
  FAILS(open("new", O_WRONLY | O_CREAT, 0666), EROFS);
  FAILS(open(".", O_RDWR | O_TMPFILE, 0666), EROFS);
  FAILS(mkdir("new", 0777), EROFS);
  FAILS(mkdir("dir", 0777), EEXIST);
  FAILS(mknod("new", S_IFIFO | 0666, 0), EROFS);
  FAILS(symlink("x", "new"), EROFS);
  FAILS(link("file", "new"), EROFS);
  FAILS(unlink("file"), EROFS);
  FAILS(rmdir("dir"), EROFS);
  FAILS(rename("file", "new"), EROFS);
  FAILS(truncate("file", 0), EROFS);
  FAILS(chmod("file", 0600), EROFS);
  FAILS(chown("file", getuid(), getgid()), EROFS);
  FAILS(fchmod(fd, 0600), EROFS);
  FAILS(utimensat(AT_FDCWD, "file", NULL, 0), EROFS);
  FAILS(setxattr("file", "user.x", "x", 1, 0), EROFS);
  FAILS(removexattr("file", "user.x"), EROFS);
  FAILS(access("file", W_OK), EROFS);
  CHECK(access("file", R_OK) == 0 && fsync(fd) == 0 && close(fd) == 0);
  return 0;
}
