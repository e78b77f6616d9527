// SPDX-License-Identifier: LGPL-2.1-or-later
// Files without a name: O_TMPFILE, and those that were removed while they were open.
#include "check.h"

static char path_of_fd[64];
static const char* by_proc(int fd) {
  snprintf(path_of_fd, sizeof path_of_fd, "/proc/self/fd/%d", fd);
  return path_of_fd;
}

static int count_names(void) {
  DIR* directory = opendir(".");
  int count = 0;
  while (readdir(directory)) ++count;
  closedir(directory);
  return count - 2;
}

static void use(int fd) {
  char bytes[4096], got[4096];
  fill(bytes, sizeof bytes, 3);
  CHECK(write(fd, bytes, sizeof bytes) == sizeof bytes && stat_fd(fd).st_nlink == 0);
  CHECK(pread(fd, got, sizeof got, 0) == sizeof got && is_filled(got, sizeof got, 3));
  CHECK(ftruncate(fd, 100) == 0 && stat_fd(fd).st_size == 100 && fchmod(fd, 0640) == 0);
  CHECK((stat_fd(fd).st_mode & 07777) == 0640 && fchown(fd, getuid(), getgid()) == 0 && fsync(fd) == 0);
  CHECK(futimens(fd, (struct timespec[]){{1, 2}, {3, 4}}) == 0 && stat_fd(fd).st_mtim.tv_nsec == 4);
  const int again = open(by_proc(fd), O_RDONLY);
  CHECK(again >= 0 && same_node(stat_fd(fd), stat_fd(again)));
  CHECK(read(again, got, sizeof got) == 100 && is_filled(got, 100, 3) && close(again) == 0);
}

static void temporary(void) {
  const int fd = open(".", O_RDWR | O_TMPFILE, 0600);
  tell("O_TMPFILE", fd < 0 ? -1 : 0);
  if (fd < 0) return;
  CHECK(count_names() == 0 && (stat_fd(fd).st_mode & 07777) == 0600);
  use(fd);
  CHECK(linkat(AT_FDCWD, by_proc(fd), AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
  CHECK(stat_fd(fd).st_nlink == 1 && same_node(stat_fd(fd), stat_name("named")) &&
        stat_name("named").st_size == 100);
  FAILS(linkat(AT_FDCWD, by_proc(fd), AT_FDCWD, "named", AT_SYMLINK_FOLLOW), EEXIST);
  CHECK(close(fd) == 0 && stat_name("named").st_size == 100 && unlink("named") == 0);
  // With the descriptor itself, which the kernel grants its opener.
  const int other = open(".", O_WRONLY | O_TMPFILE, 0644);
  const int linked = linkat(other, "", AT_FDCWD, "empty-path", AT_EMPTY_PATH);
  CHECK(linked == 0 || errno == ENOENT);
  if (linked == 0) CHECK(same_node(stat_fd(other), stat_name("empty-path")) && unlink("empty-path") == 0);
  CHECK(close(other) == 0);
  const int exclusive = open(".", O_RDWR | O_TMPFILE | O_EXCL, 0600);
  FAILS(linkat(AT_FDCWD, by_proc(exclusive), AT_FDCWD, "no", AT_SYMLINK_FOLLOW), ENOENT);
  CHECK(close(exclusive) == 0 && count_names() == 0);
  FAILS(open(".", O_RDONLY | O_TMPFILE, 0600), EINVAL);
  FAILS(open("none", O_RDWR | O_TMPFILE, 0600), ENOENT);
  CHECK(close(make("file", 1, 1)) == 0);
  FAILS(open("file", O_RDWR | O_TMPFILE, 0600), ENOTDIR);
  CHECK(unlink("file") == 0);
  // Many at once are many files.
  int fds[50];
  for (int i = 0; i < 50; ++i) {
    fds[i] = open(".", O_RDWR | O_TMPFILE, 0600);
    CHECK(write(fds[i], &i, sizeof i) == sizeof i);
  }
  for (int i = 0, got; i < 50; ++i)
    CHECK(pread(fds[i], &got, sizeof got, 0) == sizeof got && got == i && close(fds[i]) == 0);
}

static void removed(void) {
  int fd = make("file", 0, 1);
  CHECK(unlink("file") == 0 && count_names() == 0);
  use(fd);
  FAILS(linkat(AT_FDCWD, by_proc(fd), AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
  CHECK(close(make("file", 7, 1)) == 0 && stat_fd(fd).st_size == 100 && stat_name("file").st_size == 7);
  CHECK(unlink("file") == 0 && count_names() == 0 && close(fd) == 0);
  // Its last name goes by a rename, and the file is open only by O_PATH.
  CHECK(close(make("one", 3, 1)) == 0 && close(make("two", 4, 1)) == 0);
  fd = open("two", O_PATH);
  CHECK(rename("one", "two") == 0 && stat_fd(fd).st_size == 4 && stat_fd(fd).st_nlink == 0);
  CHECK(close(fd) == 0 && unlink("two") == 0);
  // A child that goes on using it.
  fd = make("child", 0, 1);
  CHECK(unlink("child") == 0);
  const pid_t child = fork();
  if (child == 0) {
    use(fd);
    _exit(0);
  }
  await(child);
  CHECK(stat_fd(fd).st_size == 100 && close(fd) == 0 && count_names() == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  temporary();
  removed();
  return 0;
}
