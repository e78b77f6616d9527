// SPDX-License-Identifier: LGPL-2.1-or-later
// truncate(2) and the limits of sizes; offsets beyond 4 GiB; vectors longer than one request.
#include <sys/resource.h>
#include <sys/uio.h>

#include "check.h"

static void truncates(void) {
  const int fd = make("file", 10000, 1);
  char bytes[20000];
  CHECK(ftruncate(fd, 5000) == 0 && stat_name("file").st_size == 5000 && ftruncate(fd, 12000) == 0);
  CHECK(pread(fd, bytes, sizeof bytes, 0) == 12000 && is_filled(bytes, 5000, 1) &&
        is_zero(bytes + 5000, 7000));
  CHECK(truncate("file", 3) == 0 && pread(fd, bytes, sizeof bytes, 0) == 3 && stat_fd(fd).st_size == 3);
  const int other = open("file", O_WRONLY | O_TRUNC);
  CHECK(stat_fd(fd).st_size == 0 && pread(fd, bytes, 1, 0) == 0 && close(other) == 0);
  CHECK(pwrite(fd, "x", 1, 5000) == 1 && pread(fd, bytes, sizeof bytes, 0) == 5001 && is_zero(bytes, 5000));
  FAILS(ftruncate(fd, -1), EINVAL);
  FAILS(truncate("file", -1), EINVAL);
  FAILS(truncate(".", 0), EISDIR);
  FAILS(truncate("none", 0), ENOENT);
  FAILS(truncate("file/x", 0), ENOTDIR);
  const int reader = open("file", O_RDONLY);
  FAILS(ftruncate(reader, 0), EINVAL);
  FAILS(write(reader, "x", 1), EBADF);
  CHECK(close(reader) == 0);
  const int writer = open("file", O_WRONLY);
  FAILS(read(writer, bytes, 1), EBADF);
  CHECK(close(writer) == 0);
  tell("the largest size", ftruncate(fd, INT64_MAX));
  CHECK(ftruncate(fd, 0) == 0);
  tell("write at the largest offset", pwrite(fd, "x", 1, INT64_MAX - 1));
  tell("beyond it", pwrite(fd, "xy", 2, INT64_MAX - 1));
  CHECK(ftruncate(fd, 0) == 0 && close(fd) == 0);
  // Opened for writing with O_TRUNC and without rights to write: nothing happens.
  CHECK(close(open("new", O_RDONLY | O_CREAT | O_TRUNC, 0400)) == 0 && stat_name("new").st_size == 0);
}

static volatile sig_atomic_t signals;
static void count(int number) {
  (void)number;
  ++signals;
}

static void limit(void) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, count);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, 100000}) == 0);
    const int fd = open("limited", O_RDWR | O_CREAT, 0666);
    char bytes[1000] = "";
    CHECK(pwrite(fd, bytes, 1000, 99500) == 500 && signals == 0 && stat_fd(fd).st_size == 100000);
    FAILS(pwrite(fd, bytes, 1, 100000), EFBIG);
    CHECK(signals == 1);
    FAILS(ftruncate(fd, 100001), EFBIG);
    CHECK(signals == 2);
    FAILS(fallocate(fd, 0, 0, 100001), EFBIG);
    CHECK(stat_fd(fd).st_size == 100000);
    signal(SIGXFSZ, SIG_IGN);
    FAILS(truncate("limited", 100001), EFBIG);
    CHECK(lseek(fd, 0, SEEK_END) == 100000);
    FAILS(write(fd, "x", 1), EFBIG);
    _exit(0);
  }
  await(child);
}

static void large(void) {
  const off_t far = (5LL << 30) + 12345;
  const int fd = open("large", O_RDWR | O_CREAT, 0666);
  char bytes[300], got[300];
  fill(bytes, sizeof bytes, 9);
  for (off_t at = (1LL << 31) - 100; at < far; at += (1LL << 31)) {
    CHECK(pwrite(fd, bytes, sizeof bytes, at) == sizeof bytes);  // across 2 GiB and 4 GiB
    CHECK(pread(fd, got, sizeof got, at) == sizeof got && is_filled(got, sizeof got, 9));
  }
  CHECK(pwrite(fd, bytes, sizeof bytes, far) == sizeof bytes && stat_name("large").st_size == far + 300);
  CHECK(lseek(fd, 0, SEEK_END) == far + 300 && lseek(fd, far - 10, SEEK_DATA) >= far - 4096);
  CHECK(pread(fd, got, sizeof got, far) == sizeof got && is_filled(got, sizeof got, 9));
  CHECK(ftruncate(fd, (1LL << 32) + 7) == 0 && stat_fd(fd).st_size == (1LL << 32) + 7);
  CHECK(close(fd) == 0 && unlink("large") == 0);
}

static void vectors(void) {
  enum { parts = 40, part = 12347, all = parts * part };  // about 480 KiB
  static char bytes[all], got[all];
  struct iovec out[parts], in[parts];
  fill(bytes, all, 4);
  for (int i = 0; i < parts; ++i) {
    out[i] = (struct iovec){bytes + i * part, part};
    in[i] = (struct iovec){got + i * part, part};
  }
  const int fd = open("vector", O_RDWR | O_CREAT | O_TRUNC, 0666);
  CHECK(writev(fd, out, parts) == all && stat_fd(fd).st_size == all && lseek(fd, 0, SEEK_SET) == 0);
  CHECK(readv(fd, in, parts) == all && is_filled(got, all, 4));
  memset(got, 0, all);
  CHECK(preadv(fd, in, parts, 100) == all - 100 && memcmp(got, bytes + 100, all - 100) == 0);
  CHECK(pwritev2(fd, out, 1, 7, RWF_DSYNC) == part && preadv2(fd, in, 1, 7, RWF_HIPRI) == part);
  CHECK(pwritev2(fd, out, 1, 0, RWF_APPEND) == part && stat_fd(fd).st_size == all + part);
  const long nowait = preadv2(fd, in, 1, 7, RWF_NOWAIT);
  CHECK(nowait == part || (nowait == -1 && (errno == EAGAIN || errno == EOPNOTSUPP)));
  FAILS(pwritev2(fd, out, 1, 0, 1 << 20), EOPNOTSUPP);
  CHECK(lseek(fd, 5, SEEK_SET) == 5 && pwritev2(fd, out, 1, -1, 0) == part &&
        lseek(fd, 0, SEEK_CUR) == part + 5);
  CHECK(read(fd, got, 0) == 0 && write(fd, got, 0) == 0 && close(fd) == 0);
}

// One offset for all descriptors of a description, also in children.
static void offsets(void) {
  const int fd = make("shared", 100, 1), copy = dup(fd), other = open("shared", O_RDONLY);
  char bytes[100];
  CHECK(lseek(fd, 10, SEEK_SET) == 10 && read(copy, bytes, 5) == 5 && lseek(fd, 0, SEEK_CUR) == 15);
  const pid_t child = fork();
  if (child == 0) {
    CHECK(read(fd, bytes, 20) == 20 && write(fd, "child", 5) == 5);
    _exit(0);
  }
  await(child);
  CHECK(lseek(copy, 0, SEEK_CUR) == 40 && lseek(other, 0, SEEK_CUR) == 0);
  CHECK(read(other, bytes, 100) == 100 && memcmp(bytes + 35, "child", 5) == 0);
  CHECK(close(fd) == 0 && write(copy, "still", 5) == 5 && close(copy) == 0 && close(other) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  truncates();
  limit();
  large();
  vectors();
  offsets();
  return 0;
}
