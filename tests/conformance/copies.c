// SPDX-License-Identifier: LGPL-2.1-or-later
// copy_file_range(2), sendfile(2), splice(2).
#include <sys/sendfile.h>

#include "check.h"

enum { size = 300000 };

static void ranges(void) {
  const int from = make("from", size, 1), to = make("to", 1000, 2);
  static char bytes[2 * size];
  off_t in = 1000, out = 500;
  size_t left = size;  // more than there is
  for (ssize_t moved; (moved = copy_file_range(from, &in, to, &out, left, 0)) != 0; left -= (size_t)moved)
    CHECK(moved > 0);
  CHECK(in == size && out == size - 500 && stat_fd(to).st_size == size - 500);
  CHECK(pread(to, bytes, sizeof bytes, 0) == size - 500 && is_filled(bytes, 500, 2));
  fill(bytes + size, size, 1);
  CHECK(memcmp(bytes + 500, bytes + size + 1000, size - 1000) == 0);
  CHECK(lseek(from, 0, SEEK_CUR) == size && lseek(to, 0, SEEK_CUR) == 1000);
  // Without offsets: the descriptions' own.
  CHECK(lseek(from, 10, SEEK_SET) == 10 && lseek(to, 20, SEEK_SET) == 20);
  CHECK(copy_file_range(from, NULL, to, NULL, 30, 0) == 30);
  CHECK(lseek(from, 0, SEEK_CUR) == 40 && lseek(to, 0, SEEK_CUR) == 50);
  in = size + 5, out = 0;
  CHECK(copy_file_range(from, &in, to, &out, 10, 0) == 0);
  // Within one file.
  in = 0, out = 100000;
  CHECK(copy_file_range(from, &in, from, &out, 50000, 0) == 50000);
  CHECK(pread(from, bytes, 50000, 100000) == 50000 && is_filled(bytes, 50000, 1));
  in = 0, out = 100;
  FAILS(copy_file_range(from, &in, from, &out, 1000, 0), EINVAL);
  const int reader = open("to", O_RDONLY), append = open("to", O_WRONLY | O_APPEND),
            here = open(".", O_RDONLY);
  FAILS(copy_file_range(from, NULL, reader, NULL, 10, 0), EBADF);
  FAILS(copy_file_range(from, NULL, append, NULL, 10, 0), EBADF);
  FAILS(copy_file_range(append, NULL, to, NULL, 10, 0), EBADF);
  FAILS(copy_file_range(here, NULL, to, NULL, 10, 0), EISDIR);
  FAILS(copy_file_range(from, NULL, to, NULL, 10, 1 << 20), EINVAL);
  CHECK(close(from) == 0 && close(to) == 0 && close(reader) == 0 && close(append) == 0 && close(here) == 0);
}

// What was cached of the target is not believed any more.
static void cached(void) {
  const int from = make("new", 8192, 5), to = make("old", 8192, 6);
  char bytes[8192];
  CHECK(pread(to, bytes, sizeof bytes, 0) == 8192 && is_filled(bytes, 8192, 6));
  off_t in = 0, out = 0;
  CHECK(copy_file_range(from, &in, to, &out, 8192, 0) == 8192);
  CHECK(pread(to, bytes, sizeof bytes, 0) == 8192 && is_filled(bytes, 8192, 5));
  CHECK(close(from) == 0 && close(to) == 0);
}

static void send(void) {
  const int from = make("source", size, 3), to = open("sent", O_RDWR | O_CREAT, 0666);
  static char bytes[size];
  off_t at = 0;
  while (at < size) CHECK(sendfile(to, from, &at, (size_t)(size - at)) > 0);
  CHECK(pread(to, bytes, size, 0) == size && is_filled(bytes, size, 3));
  CHECK(close(to) == 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  const int spliced = open("spliced", O_RDWR | O_CREAT, 0666);
  loff_t in = 0, out = 0;
  while (in < size) {
    const ssize_t moved = splice(from, &in, ends[1], NULL, 65536, SPLICE_F_MOVE);
    CHECK(moved > 0);
    for (ssize_t left = moved; left > 0;) {
      const ssize_t put = splice(ends[0], NULL, spliced, &out, (size_t)left, SPLICE_F_MOVE);
      CHECK(put > 0);
      left -= put;
    }
  }
  CHECK(pread(spliced, bytes, size, 0) == size && is_filled(bytes, size, 3));
  CHECK(close(from) == 0 && close(spliced) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  ranges();
  cached();
  send();
  return 0;
}
