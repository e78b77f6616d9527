// SPDX-License-Identifier: LGPL-2.1-or-later
// mmap(2): shared mappings and read(2)/write(2) see each other, private ones keep to themselves, beyond the end is SIGBUS.
#include <setjmp.h>
#include <sys/mman.h>

#include "check.h"

enum { page = 4096, pages = 64, size = page * pages };

static sigjmp_buf beyond;
static void bus(int number) {
  (void)number;
  siglongjmp(beyond, 1);
}

// Whether touching the byte raises SIGBUS.
static bool faults(volatile char* byte, bool write_it) {
  signal(SIGBUS, bus);
  if (sigsetjmp(beyond, 1)) return true;
  const char was = *byte;
  if (write_it) *byte = was;
  return false;
}

static void shared(void) {
  const int fd = make("shared", size, 1);
  char got[page];
  char* map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED && is_filled(map, size, 1));
  memcpy(map + 3 * page, "through the map", 15);
  CHECK(pread(fd, got, 15, 3 * page) == 15 && memcmp(got, "through the map", 15) == 0);
  CHECK(pwrite(fd, "through write", 13, 9 * page) == 13 && memcmp(map + 9 * page, "through write", 13) == 0);
  const int other = open("shared", O_RDONLY);
  char* second = mmap(NULL, size, PROT_READ, MAP_SHARED, other, 0);
  CHECK(second != MAP_FAILED && memcmp(second + 3 * page, "through the map", 15) == 0);
  map[20 * page] = 'X';
  CHECK(second[20 * page] == 'X' && msync(map, size, MS_SYNC) == 0 && msync(map, size, MS_ASYNC) == 0);
  const pid_t child = fork();
  if (child == 0) {
    map[30 * page] = 'C';
    _exit(0);
  }
  await(child);
  CHECK(map[30 * page] == 'C' && pread(other, got, 1, 30 * page) == 1 && got[0] == 'C');
  // The mapping outlives the descriptor, and what it wrote the mapping.
  CHECK(close(fd) == 0);
  map[31 * page] = 'D';
  CHECK(munmap(map, size) == 0 && pread(other, got, 1, 31 * page) == 1 && got[0] == 'D' &&
        munmap(second, size) == 0);
  CHECK(close(other) == 0);
  const int again = open("shared", O_RDONLY);
  CHECK(pread(again, got, 1, 31 * page) == 1 && got[0] == 'D' && close(again) == 0);
}

static void private(void) {
  const int fd = make("private", size, 2);
  char got[page];
  char* map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED && is_filled(map, size, 2));
  memset(map, 'p', 2 * page);
  CHECK(msync(map, size, MS_SYNC) == 0 && pread(fd, got, page, 0) == page && is_filled(got, page, 2));
  CHECK(pwrite(fd, "changed", 7, 5 * page) == 7 && memcmp(map + 5 * page, "changed", 7) == 0);
  CHECK(map[0] == 'p' && munmap(map, size) == 0);
  const int reader = open("private", O_RDONLY);
  FAILS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0), EACCES);
  map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0);
  CHECK(map != MAP_FAILED && munmap(map, size) == 0);
  const int writer = open("private", O_WRONLY), here = open(".", O_RDONLY);
  FAILS(mmap(NULL, size, PROT_READ, MAP_SHARED, writer, 0), EACCES);
  FAILS(mmap(NULL, size, PROT_READ, MAP_SHARED, here, 0), ENODEV);
  FAILS(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 5), EINVAL);
  CHECK(close(fd) == 0 && close(reader) == 0 && close(writer) == 0 && close(here) == 0);
}

static void ends(void) {
  const int fd = make("ends", 2 * page + 100, 3);
  char got[page];
  char* map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED && is_zero(map + 2 * page + 100, page - 100));  // the rest of the last page
  CHECK(!faults(map + 3 * page - 1, true) && faults(map + 3 * page, false) && faults(map + 10 * page, true));
  map[2 * page + 200] = 'x';  // beyond the end: not in the file
  CHECK(msync(map, size, MS_SYNC) == 0 && stat_fd(fd).st_size == 2 * page + 100);
  CHECK(pread(fd, got, page, 2 * page) == 100);
  // It grows: what was beyond the end is there now.
  CHECK(ftruncate(fd, 6 * page) == 0 && !faults(map + 5 * page, true) && is_zero(map + 3 * page, 3 * page));
  CHECK(pwrite(fd, "grown", 5, 7 * page) == 5 && memcmp(map + 7 * page, "grown", 5) == 0 &&
        faults(map + 8 * page, false));
  // It shrinks: what was cut off is gone, and zero when it grows again.
  map[5 * page] = 'y';
  CHECK(ftruncate(fd, page) == 0 && faults(map + 5 * page, false) && ftruncate(fd, 6 * page) == 0);
  CHECK(map[5 * page] == 0 && !faults(map + 5 * page, true) && munmap(map, size) == 0 && close(fd) == 0);
}

static void removed(void) {
  const int fd = make("removed", size, 4);
  char* map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(unlink("removed") == 0 && close(fd) == 0 && is_filled(map, size, 4));
  memset(map, 'r', size);
  CHECK(msync(map, size, MS_SYNC) == 0 && map[size - 1] == 'r' && munmap(map, size) == 0);
}

// Program text is a private mapping: what is written and then mapped to be run is what was written.
static void rewritten(void) {
  char bytes[page];
  for (unsigned turn = 0; turn < 20; ++turn) {
    const int fd = open("again", O_RDWR | O_CREAT | O_TRUNC, 0666);
    fill(bytes, page, turn);
    CHECK(write(fd, bytes, page) == page && close(fd) == 0);
    const int reader = open("again", O_RDONLY);
    char* map = mmap(NULL, page, PROT_READ, MAP_PRIVATE, reader, 0);
    CHECK(map != MAP_FAILED && is_filled(map, page, turn) && munmap(map, page) == 0 && close(reader) == 0);
  }
}

int main(int argc, char** argv) {
  enter(argc, argv);
  shared();
  private();
  ends();
  removed();
  rewritten();
  return 0;
}
