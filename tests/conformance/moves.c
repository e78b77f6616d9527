// SPDX-License-Identifier: LGPL-2.1-or-later
// Renames under open files and directories.
#include <linux/fs.h>

#include "check.h"

static void under_a_file(void) {
  const int fd = make("file", 100, 1);
  CHECK(mkdir("d", 0777) == 0 && rename("file", "d/moved") == 0);
  CHECK(pwrite(fd, "hello", 5, 100) == 5 && stat_name("d/moved").st_size == 105);
  CHECK(same_node(stat_fd(fd), stat_name("d/moved")));
  // Another takes its name, and its old content stays readable.
  const int other = make("other", 7, 2);
  char bytes[200];
  CHECK(rename("other", "d/moved") == 0 && stat_name("d/moved").st_size == 7);
  CHECK(stat_fd(fd).st_nlink == 0 && pread(fd, bytes, sizeof bytes, 0) == 105 && is_filled(bytes, 100, 1));
  CHECK(pread(other, bytes, sizeof bytes, 0) == 7 && is_filled(bytes, 7, 2));
  CHECK(close(fd) == 0 && close(other) == 0);
}

static void under_a_directory(void) {
  CHECK(mkdir("a", 0777) == 0 && mkdir("a/in", 0777) == 0 && mkdir("b", 0777) == 0);
  const int in = open("a/in", O_RDONLY | O_DIRECTORY);
  CHECK(in >= 0 && fchdir(in) == 0);
  struct stat up;
  CHECK(same_node(stat_name(".."), stat_name("../../a")));
  CHECK(rename("../../a/in", "../../b/elsewhere") == 0);
  CHECK(same_node(stat_name(".."), stat_name("../../b")) && fstatat(in, "..", &up, 0) == 0);
  CHECK(same_node(up, stat_name("../../b")));
  char cwd[4096];
  CHECK(getcwd(cwd, sizeof cwd) && strcmp(strrchr(cwd, '/'), "/elsewhere") == 0);
  CHECK(close(open("made", O_WRONLY | O_CREAT, 0666)) == 0 &&
        stat_name("../../b/elsewhere/made").st_size == 0);
  CHECK(fchdir(in) == 0 && chdir("../..") == 0 && close(in) == 0);
}

static void removed(void) {
  CHECK(mkdir("gone", 0777) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
  FAILS(open("x", O_WRONLY | O_CREAT, 0666), ENOENT);
  FAILS(mkdir("x", 0777), ENOENT);
  DIR* directory = opendir(".");
  CHECK(directory && !readdir(directory) && closedir(directory) == 0);
  printf("links of a removed directory: %ld\n", (long)stat_name(".").st_nlink);
  CHECK(chdir("..") == 0);
}

static void refused(void) {
  FAILS(rename("b", "b/elsewhere/b"), EINVAL);
  FAILS(rename("a", "b"), ENOTEMPTY);
  FAILS(rename("b/elsewhere/made", "a"), EISDIR);
  FAILS(rename("a", "b/elsewhere/made"), ENOTDIR);
  FAILS(rename("none", "x"), ENOENT);
  FAILS(rename("b/elsewhere/made", "none/x"), ENOENT);
  FAILS(rename("b/.", "x"), EBUSY);
  FAILS(rmdir("b"), ENOTEMPTY);
  FAILS(rmdir("b/elsewhere/made"), ENOTDIR);
  FAILS(unlink("b"), EISDIR);
  CHECK(rename("a", "empty") == 0 && mkdir("a", 0777) == 0 && rename("a", "empty") == 0);
}

static void with_flags(void) {
  CHECK(close(make("x", 3, 1)) == 0 && close(make("y", 5, 1)) == 0);
  const struct stat x = stat_name("x"), y = stat_name("y"), b = stat_name("b");
  FAILS(renameat2(AT_FDCWD, "x", AT_FDCWD, "y", RENAME_NOREPLACE), EEXIST);
  CHECK(renameat2(AT_FDCWD, "x", AT_FDCWD, "z", RENAME_NOREPLACE) == 0 && same_node(x, stat_name("z")));
  CHECK(renameat2(AT_FDCWD, "z", AT_FDCWD, "y", RENAME_EXCHANGE) == 0);
  CHECK(same_node(x, stat_name("y")) && same_node(y, stat_name("z")));
  CHECK(renameat2(AT_FDCWD, "y", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);  // a file and a directory
  CHECK(same_node(x, stat_name("b")) && same_node(b, stat_name("y")) &&
        same_node(b, stat_name("y/elsewhere/..")));
  CHECK(renameat2(AT_FDCWD, "b", AT_FDCWD, "y", RENAME_EXCHANGE) == 0);
  FAILS(renameat2(AT_FDCWD, "y", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
  FAILS(renameat2(AT_FDCWD, "b", AT_FDCWD, "b/elsewhere", RENAME_EXCHANGE), EINVAL);
  FAILS(renameat2(AT_FDCWD, "y", AT_FDCWD, "z", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
  FAILS(renameat2(AT_FDCWD, "y", AT_FDCWD, "z", 1 << 10), EINVAL);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  under_a_file();
  under_a_directory();
  removed();
  refused();
  with_flags();
  return 0;
}
