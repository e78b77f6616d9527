// SPDX-License-Identifier: LGPL-2.1-or-later
// With O_APPEND what is written lands at the end, wherever that is by now; fcntl(2) gives it and takes it away; a mapping
// writes in its place all the same.
#include <sys/mman.h>
#include <sys/uio.h>

#include "check.h"

enum { page = 4096 };

static void set_append(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  CHECK(flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_APPEND : flags & ~O_APPEND) == 0);
  CHECK(!(fcntl(fd, F_GETFL) & O_APPEND) == !on);
}

static void is(const char* name, const char* content) {
  char got[64] = "";
  const int fd = open(name, O_RDONLY);
  const ssize_t length = read(fd, got, sizeof got);
  if (length != (ssize_t)strlen(content) || memcmp(got, content, strlen(content)) != 0)
    fprintf(stderr, "%s: \"%.*s\", not \"%s\"\n", name, (int)length, got, content), _exit(1);
  CHECK(close(fd) == 0);
}

static void flag_comes_and_goes(int access) {
  int fd = open("flags", access | O_CREAT | O_TRUNC, 0666);
  CHECK(write(fd, "0123456789", 10) == 10 && lseek(fd, 2, SEEK_SET) == 2);
  set_append(fd, true);
  CHECK(write(fd, "end", 3) == 3 && lseek(fd, 0, SEEK_CUR) == 13);
  set_append(fd, false);
  CHECK(pwrite(fd, "A", 1, 0) == 1 && lseek(fd, 4, SEEK_SET) == 4 && write(fd, "B", 1) == 1);
  is("flags", "A123B56789end");
  CHECK(close(fd) == 0);
  fd = open("flags", access | O_APPEND);
  CHECK(pwrite(fd, ".", 1, 0) == 1);  // appends, as Linux does
  const int same = dup(fd);
  set_append(same, false);
  CHECK(pwrite(fd, "C", 1, 1) == 1);
  set_append(fd, true);
  CHECK(write(same, "!", 1) == 1 && close(same) == 0 && close(fd) == 0);
  is("flags", "AC23B56789end.!");
  CHECK(unlink("flags") == 0);
}

// Another one cuts it, or appends to it: the end is where it is then.
static void end_moves(void) {
  const int log = open("log", O_WRONLY | O_APPEND | O_CREAT, 0666), other = open("log", O_RDWR | O_APPEND);
  CHECK(write(log, "one", 3) == 3 && write(other, "two", 3) == 3 && write(log, "three", 5) == 5);
  is("log", "onetwothree");
  CHECK(truncate("log", 3) == 0 && write(log, "four", 4) == 4 && lseek(log, 0, SEEK_CUR) == 7);
  CHECK(ftruncate(other, 0) == 0);
  struct iovec parts[] = {{(char[]){"five"}, 4}, {(char[]){"six"}, 3}};
  CHECK(writev(log, parts, 2) == 7 && stat_fd(other).st_size == 7);
  is("log", "fivesix");
  // What was read before is followed by what is appended.
  char got[16];
  CHECK(pread(other, got, sizeof got, 0) == 7 && write(log, "seven", 5) == 5 &&
        pread(other, got, sizeof got, 0) == 12 && memcmp(got, "fivesixseven", 12) == 0);
  CHECK(close(log) == 0 && close(other) == 0);
}

static void large(void) {
  static char bytes[100000];
  const int fd = open("large", O_WRONLY | O_APPEND | O_CREAT, 0666);
  fill(bytes, sizeof bytes, 3);
  for (int i = 0; i < 5; ++i) CHECK(write(fd, bytes, sizeof bytes) == sizeof bytes);
  const int reader = open("large", O_RDONLY);
  for (int i = 0; i < 5; ++i)
    CHECK(read(reader, bytes, sizeof bytes) == sizeof bytes && is_filled(bytes, sizeof bytes, 3));
  CHECK(read(reader, bytes, 1) == 0 && close(reader) == 0 && close(fd) == 0);
}

static void mapped(void) {
  CHECK(close(make("mapped", 2 * page, 5)) == 0);
  const int fd = open("mapped", O_RDWR | O_APPEND);
  char* map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  memcpy(map + 10, "in its place", 12);
  CHECK(msync(map, 2 * page, MS_SYNC) == 0 && stat_fd(fd).st_size == 2 * page);
  map[page + 1] = 'x';
  CHECK(write(fd, "end", 3) == 3 && munmap(map, 2 * page) == 0 && close(fd) == 0);
  char got[2 * page + 4];
  const int reader = open("mapped", O_RDONLY);
  CHECK(read(reader, got, sizeof got) == 2 * page + 3 && memcmp(got + 10, "in its place", 12) == 0 &&
        got[page + 1] == 'x' && memcmp(got + 2 * page, "end", 3) == 0 && close(reader) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  flag_comes_and_goes(O_WRONLY);
  flag_comes_and_goes(O_RDWR);
  end_moves();
  large();
  mapped();
  return 0;
}
