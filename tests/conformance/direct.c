// SPDX-License-Identifier: LGPL-2.1-or-later
// O_DIRECT, also beside the page cache and mappings of the same file; O_SYNC, O_DSYNC and the calls that sync.
#include <sys/mman.h>

#include "check.h"

enum { size = 1 << 20, block = 4096 };

static void direct(void) {
  char* bytes = aligned_alloc(block, size);
  CHECK(bytes);
  const int fd = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0666);
  tell("O_DIRECT", fd < 0 ? -1 : 0);
  if (fd < 0) return;
  CHECK(fcntl(fd, F_GETFL) & O_DIRECT);
  fill(bytes, size, 1);
  CHECK(write(fd, bytes, size) == size && stat_fd(fd).st_size == size);
  const int cached = open("direct", O_RDWR);
  char* got = aligned_alloc(block, size);
  CHECK(read(cached, got, size) == size && is_filled(got, size, 1));
  // What goes past the cache is seen by those who use it, and the other way round.
  fill(bytes, block, 2);
  CHECK(pwrite(fd, bytes, block, 2 * block) == block);
  CHECK(pread(cached, got, block, 2 * block) == block && is_filled(got, block, 2));
  CHECK(pwrite(cached, "cached", 6, 5 * block) == 6 && pread(fd, got, block, 5 * block) == block);
  CHECK(memcmp(got, "cached", 6) == 0);
  CHECK(pread(fd, got, block, size) == 0);
  // A mapping of the descriptor itself.
  char* shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(shared != MAP_FAILED && is_filled(shared + 2 * block, block, 2));
  memcpy(shared + 7 * block, "mapped", 6);
  CHECK(msync(shared, size, MS_SYNC) == 0 && pread(fd, got, block, 7 * block) == block);
  CHECK(memcmp(got, "mapped", 6) == 0);
  fill(bytes, block, 3);
  CHECK(pwrite(fd, bytes, block, 9 * block) == block && is_filled(shared + 9 * block, block, 3));
  CHECK(munmap(shared, size) == 0 && close(fd) == 0 && close(cached) == 0);
  // Switched on and off.
  const int other = open("direct", O_RDWR);
  CHECK(fcntl(other, F_SETFL, O_DIRECT) == 0 && pread(other, got, block, 9 * block) == block);
  CHECK(is_filled(got, block, 3) && fcntl(other, F_SETFL, 0) == 0 && close(other) == 0);
  free(bytes);
  free(got);
}

static void sync_flags(void) {
  const int flags[] = {O_SYNC, O_DSYNC, O_SYNC | O_APPEND, O_DIRECT | O_DSYNC};
  char* bytes = aligned_alloc(block, block);
  for (size_t i = 0; i < sizeof flags / sizeof *flags; ++i) {
    const int fd = open("synced", O_WRONLY | O_CREAT | O_TRUNC | flags[i], 0666);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & flags[i]) == flags[i]);
    fill(bytes, block, (unsigned)i);
    CHECK(write(fd, bytes, block) == block && stat_name("synced").st_size == block && close(fd) == 0);
  }
  free(bytes);
}

static void syncs(void) {
  const int fd = make("file", 100000, 1), here = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0 && sync_file_range(fd, 0, 0, 7) == 0);
  CHECK(fsync(here) == 0 && fdatasync(here) == 0);
  const int reader = open("file", O_RDONLY);
  CHECK(fsync(reader) == 0 && close(reader) == 0 && close(fd) == 0 && close(here) == 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  FAILS(fsync(ends[0]), EINVAL);
  FAILS(fsync(open("file", O_PATH)), EBADF);
  CHECK(posix_fadvise(open("file", O_RDONLY), 0, 0, POSIX_FADV_DONTNEED) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  direct();
  sync_flags();
  syncs();
  return 0;
}
