// SPDX-License-Identifier: LGPL-2.1-or-later
// utimensat(2) to the nanosecond, and which calls move which time.
#include <time.h>

#include "check.h"

static bool is(struct timespec a, long long seconds, long ns) {
  return a.tv_sec == seconds && a.tv_nsec == ns;
}
static bool before(struct timespec a, struct timespec b) {
  return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static void exact(void) {
  const int fd = make("file", 10, 1);
  const struct timespec omit = {0, UTIME_OMIT}, now = {0, UTIME_NOW};
  CHECK(utimensat(AT_FDCWD, "file", (struct timespec[]){{1000000001, 123456789}, {1000000002, 987654321}},
                  0) == 0);
  CHECK(is(stat_fd(fd).st_atim, 1000000001, 123456789) && is(stat_fd(fd).st_mtim, 1000000002, 987654321));
  CHECK(futimens(fd, (struct timespec[]){omit, {5, 6}}) == 0);
  CHECK(is(stat_fd(fd).st_atim, 1000000001, 123456789) && is(stat_fd(fd).st_mtim, 5, 6));
  CHECK(futimens(fd, (struct timespec[]){{7, 8}, omit}) == 0);
  CHECK(is(stat_fd(fd).st_atim, 7, 8) && is(stat_fd(fd).st_mtim, 5, 6));
  CHECK(futimens(fd, (struct timespec[]){omit, omit}) == 0 && is(stat_fd(fd).st_mtim, 5, 6));
  CHECK(futimens(fd, (struct timespec[]){now, omit}) == 0 && !is(stat_fd(fd).st_atim, 7, 8) &&
        is(stat_fd(fd).st_mtim, 5, 6));
  CHECK(futimens(fd, NULL) == 0 && stat_fd(fd).st_mtim.tv_sec > 1000000002);
  // Before 1970, after 2038, before 1901: as far as this file system goes.
  const long long far[] = {-1, -1000000, -2147483648, 2147483647, 2147483648, 4102444800, -2147483649};
  for (size_t i = 0; i < sizeof far / sizeof *far; ++i) {
    CHECK(futimens(fd, (struct timespec[]){{far[i], 999999999}, {far[i], 1}}) == 0);
    const struct stat got = stat_fd(fd);
    printf("%lld: %ld.%ld %ld.%ld\n", far[i], got.st_atim.tv_sec, got.st_atim.tv_nsec, got.st_mtim.tv_sec,
           got.st_mtim.tv_nsec);
  }
  FAILS(futimens(fd, (struct timespec[]){{0, 1000000000}, {0, 0}}), EINVAL);
  FAILS(utimensat(AT_FDCWD, "none", NULL, 0), ENOENT);
  CHECK(symlink("file", "link") == 0);
  CHECK(utimensat(AT_FDCWD, "link", (struct timespec[]){{1, 2}, {3, 4}}, AT_SYMLINK_NOFOLLOW) == 0);
  CHECK(is(stat_name("link").st_mtim, 3, 4) && !is(stat_fd(fd).st_mtim, 3, 4));
  CHECK(close(fd) == 0);
}

// Sets the times back, so that each move shows.
static struct stat back(const char* name) {
  CHECK(utimensat(AT_FDCWD, name, (struct timespec[]){{100, 0}, {100, 0}}, AT_SYMLINK_NOFOLLOW) == 0);
  const struct stat status = stat_name(name);
  usleep(25000);  // more than a tick of the kernel's coarse clock
  return status;
}

static void moved(void) {
  const int fd = make("moved", 10, 1);
  CHECK(mkdir("d", 0777) == 0);
  struct stat then = back("moved"), now;
  CHECK(pwrite(fd, "x", 1, 0) == 1 &&
        (now = stat_fd(fd), now.st_mtim.tv_sec > 100 && before(then.st_ctim, now.st_ctim)));
  then = back("moved");
  CHECK(chmod("moved", 0600) == 0 &&
        (now = stat_fd(fd), is(now.st_mtim, 100, 0) && before(then.st_ctim, now.st_ctim)));
  then = back("moved");
  CHECK(link("moved", "d/linked") == 0 &&
        (now = stat_fd(fd), is(now.st_mtim, 100, 0) && before(then.st_ctim, now.st_ctim)));
  then = back("moved");
  CHECK(ftruncate(fd, 5) == 0 &&
        (now = stat_fd(fd), now.st_mtim.tv_sec > 100 && before(then.st_ctim, now.st_ctim)));
  // An open by O_TRUNC of an empty file too.
  CHECK(ftruncate(fd, 0) == 0);
  back("moved");
  CHECK(close(open("moved", O_WRONLY | O_TRUNC)) == 0 && stat_fd(fd).st_mtim.tv_sec > 100);
  const char* names[] = {"create", "mkdir", "symlink", "link", "rename", "unlink", "rmdir"};
  for (int i = 0; i < 7; ++i) {
    then = back("d");
    const int done = i == 0   ? close(open("d/file", O_WRONLY | O_CREAT, 0666))
                     : i == 1 ? mkdir("d/dir", 0777)
                     : i == 2 ? symlink("x", "d/link")
                     : i == 3 ? link("d/file", "d/hard")
                     : i == 4 ? rename("d/hard", "d/soft")
                     : i == 5 ? unlink("d/soft")
                              : rmdir("d/dir");
    CHECK(done == 0);
    now = stat_name("d");
    if (now.st_mtim.tv_sec <= 100 || !before(then.st_ctim, now.st_ctim))
      check_failed(__FILE__, __LINE__, names[i]);
  }
  CHECK(close(fd) == 0);
}

// A stat(2) right after a write(2) shows it, also when it had been cached.
static void fresh(void) {
  const int fd = make("fresh", 0, 1);
  for (int i = 1; i < 200; ++i) {
    CHECK(write(fd, "x", 1) == 1 && stat_name("fresh").st_size == i);
    if (i % 20 == 0)
      CHECK(ftruncate(fd, i) == 0 && stat_fd(fd).st_size == i && chmod("fresh", 0600 + (unsigned)i % 8) == 0);
    if (i % 20 == 0) CHECK((stat_name("fresh").st_mode & 07) == (unsigned)i % 8);
  }
  CHECK(close(fd) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  exact();
  moved();
  fresh();
  return 0;
}
