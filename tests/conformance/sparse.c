// SPDX-License-Identifier: LGPL-2.1-or-later
// Holes: SEEK_DATA and SEEK_HOLE, blocks, and every mode of fallocate(2), as this file system has them.
#include <linux/falloc.h>

#include "check.h"

enum { mib = 1 << 20, block = 4096 };

static void seeks(int fd) {
  for (off_t at = 0, hole; (at = lseek(fd, at, SEEK_DATA)) >= 0; at = hole) {
    CHECK((hole = lseek(fd, at, SEEK_HOLE)) > at);
    printf("data %ld to %ld\n", (long)at, (long)hole);
  }
  CHECK(errno == ENXIO);
}

static void holes(void) {
  const int fd = open("holes", O_RDWR | O_CREAT, 0666);
  FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
  CHECK(ftruncate(fd, 8 * mib) == 0);
  FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
  CHECK(lseek(fd, 0, SEEK_HOLE) == 0 && stat_fd(fd).st_blocks == 0);
  CHECK(pwrite(fd, "middle", 6, 3 * mib) == 6 && pwrite(fd, "end", 3, 8 * mib) == 3);
  seeks(fd);
  CHECK(lseek(fd, 8 * mib + 1, SEEK_HOLE) == 8 * mib + 3);
  FAILS(lseek(fd, 8 * mib + 3, SEEK_HOLE), ENXIO);
  FAILS(lseek(fd, -1, SEEK_DATA), ENXIO);
  FAILS(lseek(fd, 0, 7), EINVAL);
  FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
  CHECK(lseek(fd, -3, SEEK_END) == 8 * mib);
  char bytes[block];
  CHECK(pread(fd, bytes, sizeof bytes, mib) == block && is_zero(bytes, block));
  printf("blocks %ld\n", (long)stat_fd(fd).st_blocks);
  CHECK(close(fd) == 0);
}

static void allocates(const char* what, int mode, off_t at, off_t length, int old_size) {
  const int fd = make("allocated", (size_t)old_size, 1);
  const int result = fallocate(fd, mode, at, length);
  tell(what, result);
  char *bytes = calloc(1, mib), sum = 0;
  const ssize_t size = pread(fd, bytes, mib, 0);
  CHECK(size == stat_fd(fd).st_size);
  for (ssize_t i = 0; i < size; ++i) sum = (char)(sum * 31 + bytes[i]);
  if (result != 0) CHECK(size == old_size && is_filled(bytes, (size_t)old_size, 1));
  printf("  size %ld blocks %ld sum %d\n", (long)size, (long)stat_fd(fd).st_blocks, sum);
  free(bytes);
  CHECK(close(fd) == 0 && unlink("allocated") == 0);
}

static void allocate(void) {
  allocates("allocate", 0, 0, 10 * block, 5 * block);
  allocates("allocate beyond the end", 0, 20 * block + 1, block, 5 * block);
  allocates("keep size", FALLOC_FL_KEEP_SIZE, 0, 10 * block, 5 * block);
  allocates("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block, 2 * block, 5 * block);
  allocates("punch within a block", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 200, 5 * block);
  allocates("punch beyond the end", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * block, 9 * block,
            5 * block + 7);
  allocates("punch without keep", FALLOC_FL_PUNCH_HOLE, block, block, 5 * block);
  allocates("zero", FALLOC_FL_ZERO_RANGE, block, 2 * block, 5 * block);
  allocates("zero beyond the end", FALLOC_FL_ZERO_RANGE, 4 * block + 5, 3 * block, 5 * block);
  allocates("zero and keep", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 4 * block + 5, 3 * block, 5 * block);
  allocates("unshare", FALLOC_FL_UNSHARE_RANGE, 0, block, 5 * block);
  allocates("none", 0, 0, 0, block);
  allocates("negative", 0, -1, 5, block);
  const int fd = open("holes", O_RDONLY);
  FAILS(fallocate(fd, 0, 0, 5), EBADF);
  CHECK(close(fd) == 0);
}

// What was read and cached before a change by fallocate(2) is not believed after it.
static void cached(void) {
  const int fd = make("cached", 8 * block, 1);
  char bytes[8 * block];
  CHECK(pread(fd, bytes, sizeof bytes, 0) == sizeof bytes);
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block, block) == 0) {
    CHECK(pread(fd, bytes, sizeof bytes, 0) == sizeof bytes);
    CHECK(is_zero(bytes + block, block) && is_filled(bytes, block, 1));
  }
  fill(bytes, sizeof bytes, 1);
  CHECK(pwrite(fd, bytes, sizeof bytes, 0) == sizeof bytes);
  if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, block) == 0) {
    char after[8 * block];
    CHECK(pread(fd, after, sizeof after, 0) == 7 * block && memcmp(after, bytes + block, 7 * block) == 0);
    CHECK(stat_fd(fd).st_size == 7 * block);
  }
  CHECK(close(fd) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  holes();
  allocate();
  cached();
  return 0;
}
