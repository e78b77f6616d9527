// SPDX-License-Identifier: LGPL-2.1-or-later
// Random operations on one file, against a copy in memory: stress-file FILE SEED OPERATIONS [maps]
// After each one that reads, file and copy must agree; at the end it prints the size and a sum of the content, which home
// compares with the file that it has. The idea is fsx's (Apple, 1991); nothing of it is here.
#include <sys/mman.h>

#include "check.h"
#include "sum.h"

enum { page = 4096, limit = 64 * page, longest = 10 * page, remembered = 12 };

static char copy[limit], bytes[limit];
static off_t size;
static const char* path;
static int plain[2], appends, direct;
static char* always;  // a mapping that stays over all that happens
static bool maps;
static uint64_t random_state;
static struct {
  const char* what;
  off_t at, length;
} last[remembered];
static unsigned long done;

static unsigned any(unsigned below) {  // xorshift64*
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (unsigned)((random_state * 0x2545F4914F6CDD1DULL) >> 33) % below;
}

static int some_fd(void) {
  return plain[any(2)];
}

static void begin(const char* what, off_t at, off_t length) {
  last[done % remembered].what = what;
  last[done % remembered].at = at;
  last[done % remembered].length = length;
}

_Noreturn static void wrong(const char* why, off_t at) {
  fprintf(stderr, "operation %lu: %s at %ld (size %ld, errno: %s)\n", done, why, (long)at, (long)size,
          strerror(errno));
  for (unsigned long i = done < remembered ? 0 : done - remembered + 1; i <= done; ++i)
    fprintf(stderr, "  %lu: %s %ld+%ld\n", i, last[i % remembered].what, (long)last[i % remembered].at,
            (long)last[i % remembered].length);
  fflush(stdout);
  _exit(1);
}

static void compare(const char* got, off_t at, off_t length) {
  for (off_t i = 0; i < length; ++i)
    if (got[i] != copy[at + i]) wrong("content differs", at + i);
}

// A new size: what lies between it and the old one is zero.
static void resize_copy(off_t now) {
  if (now > size) memset(copy + size, 0, (size_t)(now - size));
  size = now;
}

static void fill_any(off_t length) {
  const unsigned seed = any(1u << 16);
  for (off_t i = 0; i < length; ++i) bytes[i] = (char)((unsigned)i * 31 + seed + (unsigned)i / 97);
}

static void write_copy(off_t at, off_t length) {
  if (at + length > size) resize_copy(at + length);
  memcpy(copy + at, bytes, (size_t)length);
}

// Within the file; at most `longest`, and 0 when the file is empty.
static off_t inside(off_t* at) {
  *at = size ? any((unsigned)size) : 0;
  const off_t most = size - *at < longest ? size - *at : longest;
  return most ? 1 + any((unsigned)most) : 0;
}

static off_t anywhere(off_t* at) {
  *at = any(limit - 1);
  const off_t most = limit - *at < longest ? limit - *at : longest;
  return 1 + any((unsigned)most);
}

static void reads(void) {
  off_t at, length = anywhere(&at);
  begin("read", at, length);
  const off_t expected = at >= size ? 0 : size - at < length ? size - at : length;
  if (pread(some_fd(), bytes, (size_t)length, at) != expected) wrong("read has another length", at);
  compare(bytes, at, expected);
}

static void writes(void) {
  off_t at, length = anywhere(&at);
  begin("write", at, length);
  fill_any(length);
  if (pwrite(some_fd(), bytes, (size_t)length, at) != length) wrong("write", at);
  write_copy(at, length);
}

static void append(void) {
  const off_t length = 1 + any(page);
  if (size + length > limit) return;
  begin("append", size, length);
  fill_any(length);
  if (write(appends, bytes, (size_t)length) != length) wrong("append", size);
  write_copy(size, length);
}

static void truncates(void) {
  const off_t now = any(limit);
  begin("truncate", now, 0);
  if ((any(2) ? ftruncate(some_fd(), now) : truncate(path, now)) != 0) wrong("truncate", now);
  resize_copy(now);
}

static void unaligned_by_page(off_t at, off_t length, void (*use)(char*, off_t, off_t)) {
  const off_t from = at / page * page;
  const size_t whole = (size_t)(at + length - from);
  char* map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, some_fd(), from);
  if (map == MAP_FAILED) wrong("mmap", at);
  use(map + (at - from), at, length);
  if (any(2) && msync(map, whole, any(2) ? MS_SYNC : MS_ASYNC) != 0) wrong("msync", at);
  if (munmap(map, whole) != 0) wrong("munmap", at);
}

static void compare_map(char* map, off_t at, off_t length) {
  compare(map, at, length);
  // The rest of the last page is zero.
  if (at + length == size)
    for (off_t i = size; i % page; ++i)
      if (map[i - at] != 0) wrong("not zero behind the end", i);
}

static void read_map(void) {
  off_t at, length = inside(&at);
  begin("read a map", at, length);
  if (length) unaligned_by_page(at, length, compare_map);
}

static void write_map_at(char* map, off_t at, off_t length) {
  fill_any(length);
  memcpy(map, bytes, (size_t)length);
  write_copy(at, length);
}

static void write_map(void) {
  off_t at, length = inside(&at);
  begin("write a map", at, length);
  if (length) unaligned_by_page(at, length, write_map_at);
}

static void use_always(void) {
  off_t at, length = inside(&at);
  const bool write = any(2);
  begin(write ? "write the map that stays" : "read the map that stays", at, length);
  if (!length) return;
  if (write)
    write_map_at(always + at, at, length);
  else
    compare(always + at, at, length);
  if (any(8) == 0 && msync(always, limit, MS_SYNC) != 0) wrong("msync", at);
}

// 0 when it is done; a file system may not know the mode.
static bool allocates(int mode, off_t at, off_t length) {
  if (fallocate(some_fd(), mode, at, length) == 0) return true;
  if (errno != EOPNOTSUPP) wrong("fallocate", at);
  return false;
}

static void punches(void) {
  off_t at, length = anywhere(&at);
  begin("punch a hole", at, length);
  if (!allocates(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) || at >= size) return;
  memset(copy + at, 0, (size_t)(size - at < length ? size - at : length));
}

static void zeroes(void) {
  off_t at, length = anywhere(&at);
  const bool keep = any(2);
  begin(keep ? "zero, keep the size" : "zero", at, length);
  if (!allocates(FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0), at, length)) return;
  if (!keep && at + length > size) resize_copy(at + length);
  if (at < size) memset(copy + at, 0, (size_t)(size - at < length ? size - at : length));
}

static void reserves(void) {
  off_t at, length = anywhere(&at);
  const bool keep = any(2);
  begin(keep ? "allocate, keep the size" : "allocate", at, length);
  if (allocates(keep ? FALLOC_FL_KEEP_SIZE : 0, at, length) && !keep && at + length > size)
    resize_copy(at + length);
}

static void copies(void) {
  off_t from, length = inside(&from), to = any(limit);
  if (to + length > limit) length = limit - to;
  if (!length || (to < from + length && from < to + length)) return;
  begin("copy", from, length);
  off_t at = from, there = to;
  const ssize_t moved = copy_file_range(plain[0], &at, plain[any(2)], &there, (size_t)length, 0);
  if (moved < 0 && (errno == EOPNOTSUPP || errno == EXDEV)) return;
  if (moved <= 0 || moved > length) wrong("copy_file_range", from);
  memcpy(bytes, copy + from, (size_t)moved);
  write_copy(to, moved);
}

static void direct_io(void) {
  static char room[longest + page];
  char* aligned = (char*)(((uintptr_t)room + page - 1) / page * page);
  const off_t at = any(limit / page) * page;
  off_t length = (1 + any(longest / page - 1)) * page;
  if (at + length > limit) length = limit - at;
  if (direct < 0) return;
  if (any(2)) {
    begin("read directly", at, length);
    const off_t expected = at >= size ? 0 : size - at < length ? size - at : length;
    if (pread(direct, aligned, (size_t)length, at) != expected) wrong("read directly has another length", at);
    compare(aligned, at, expected);
  } else {
    begin("write directly", at, length);
    fill_any(length);
    memcpy(aligned, bytes, (size_t)length);
    if (pwrite(direct, aligned, (size_t)length, at) != length) wrong("write directly", at);
    write_copy(at, length);
  }
}

static void syncs(void) {
  begin("fsync", 0, 0);
  if ((any(2) ? fsync(some_fd()) : fdatasync(some_fd())) != 0) wrong("fsync", 0);
}

static void looks(void) {
  begin("stat", 0, 0);
  if (stat_fd(some_fd()).st_size != size || stat_name(path).st_size != size) wrong("another size", size);
}

// Where it says that there is no data, there are zeros.
static void seeks(void) {
  if (size == 0) return;
  const off_t at = any((unsigned)size), data = lseek(some_fd(), at, SEEK_DATA);
  begin("seek data", at, data);
  if (data < 0 ? errno != ENXIO : data < at || data >= size) wrong("lseek", at);
  for (off_t i = at; i < (data < 0 ? size : data); ++i)
    if (copy[i] != 0) wrong("a hole has content", i);
}

static void open_all(void) {
  for (int i = 0; i < 2; ++i) CHECK((plain[i] = open(path, O_RDWR)) >= 0);
  CHECK((appends = open(path, (any(2) ? O_RDWR : O_WRONLY) | O_APPEND)) >= 0);
  direct = open(path, O_RDWR | O_DIRECT);
  CHECK(direct >= 0 || errno == EINVAL);
}

static void reopens(void) {
  begin("close and open", 0, 0);
  for (int i = 0; i < 2; ++i) CHECK(close(plain[i]) == 0);
  CHECK(close(appends) == 0);
  if (direct >= 0) CHECK(close(direct) == 0);
  open_all();
}

int main(int argc, char** argv) {
  static void (*const operations[])(void) = {reads,  writes,    truncates, append,    punches,
                                             zeroes, reserves,  copies,    syncs,     looks,
                                             seeks,  direct_io, read_map,  write_map, use_always};
  enum { plain_operations = 12, all_operations = sizeof operations / sizeof *operations };
  CHECK(argc >= 4);
  path = argv[1];
  random_state = strtoull(argv[2], NULL, 10) * 0x9E3779B97F4A7C15ULL + 1;
  const unsigned long count = strtoul(argv[3], NULL, 10);
  maps = argc > 4;
  CHECK(close(open(path, O_RDWR | O_CREAT | O_EXCL, 0666)) == 0);
  open_all();
  if (maps) {
    always = mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_SHARED, plain[0], 0);
    CHECK(always != MAP_FAILED);
  }
  for (; done < count; ++done) {
    if (any(50) == 0)
      reopens();
    else
      operations[any(maps ? all_operations : plain_operations)]();
  }
  if (maps) CHECK(munmap(always, limit) == 0);
  printf("%ld %016llx\n", (long)size, (unsigned long long)sum_of(copy, (size_t)size));
  return 0;
}
