// SPDX-License-Identifier: LGPL-2.1-or-later
// Of many processes that want to make one name, one does; of many that append, nothing is lost.
#include "check.h"

enum { processes = 8, rounds = 50 };

static int make_file(const char* name) {
  const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
  return fd < 0 ? -1 : close(fd);
}
static int make_directory(const char* name) {
  return mkdir(name, 0777);
}
static int make_symlink(const char* name) {
  return symlink("x", name);
}
static int make_link(const char* name) {
  return link("source", name);
}

static void race(const char* kind, int (*make_it)(const char*)) {
  pid_t child[processes];
  int won[2];
  CHECK(pipe(won) == 0);
  for (int i = 0; i < processes; ++i)
    if ((child[i] = fork()) == 0) {
      char name[32];
      for (int round = 0; round < rounds; ++round) {
        snprintf(name, sizeof name, "%s-%d", kind, round);
        if (make_it(name) == 0)
          CHECK(write(won[1], "w", 1) == 1);
        else
          CHECK(errno == EEXIST);
      }
      _exit(0);
    }
  for (int i = 0; i < processes; ++i) await(child[i]);
  close(won[1]);
  char bytes[processes * rounds];
  ssize_t winners = 0;
  for (ssize_t got; (got = read(won[0], bytes, sizeof bytes)) > 0;) winners += got;
  CHECK(winners == rounds && close(won[0]) == 0);
}

static void append(void) {
  const int fd = open("log", O_RDWR | O_CREAT | O_APPEND, 0666);
  pid_t child[4];
  for (int i = 0; i < 4; ++i)
    if ((child[i] = fork()) == 0) {
      const int own = i % 2 ? fd : open("log", O_WRONLY | O_APPEND);
      char line[32];
      for (int number = 0; number < 200; ++number) {
        const int length = snprintf(line, sizeof line, "%d %06d\n", i, number);
        CHECK(write(own, line, (size_t)length) == length);
      }
      _exit(0);
    }
  for (int i = 0; i < 4; ++i) await(child[i]);
  CHECK(lseek(fd, 0, SEEK_END) == 4 * 200 * 9);
  int next[4] = {0};
  char line[10] = "";
  for (int i = 0; i < 800; ++i) {
    CHECK(pread(fd, line, 9, i * 9) == 9);
    const int who = line[0] - '0';
    CHECK(who >= 0 && who < 4 && atoi(line + 2) == next[who]++);
  }
  CHECK(pwrite(fd, "end", 3, 0) == 3 && lseek(fd, 0, SEEK_END) == 7203);  // appends too, as Linux does
  CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "x", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 7204);
  CHECK(lseek(fd, 0, SEEK_END) == 7204 && close(fd) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  CHECK(close(make("source", 1, 1)) == 0);
  race("file", make_file);
  race("directory", make_directory);
  race("symlink", make_symlink);
  race("link", make_link);
  append();
  return 0;
}
