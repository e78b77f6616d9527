// SPDX-License-Identifier: LGPL-2.1-or-later
// What the programs of this directory share. Each is given a directory and checks one rule of a file system in it: it
// says what failed and exits with 1. What it prints otherwise is that file system's own business (which fallocate(2) it
// knows, where its holes begin) and must be the same in a job as at home.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(true_) ((true_) ? (void)0 : check_failed(__FILE__, __LINE__, #true_))

// That a call returns -1 (or MAP_FAILED) with this errno.
#define FAILS(call, error) \
  (errno = 0,              \
   (long)(call) == -1 && errno == (error) ? (void)0 : check_failed(__FILE__, __LINE__, #call ": " #error))

_Noreturn static inline void check_failed(const char* file, int line, const char* what) {
  fprintf(stderr, "%s:%d: %s (errno: %s)\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, what,
          strerror(errno));
  fflush(stdout);
  _exit(1);
}

// A line for the comparison: what the call did here.
static inline void tell(const char* what, long result) {
  if (result < 0)
    printf("%s: %s\n", what, strerrorname_np(errno));
  else
    printf("%s: %ld\n", what, result);
}

// Begins in an empty directory below the one that was given, named after the program.
static inline void enter(int argc, char** argv) {
  CHECK(argc > 1);
  const char* name = strrchr(argv[0], '/');
  umask(022);
  CHECK(chdir(argv[1]) == 0);
  CHECK(mkdir(name ? name + 1 : argv[0], 0777) == 0);
  CHECK(chdir(name ? name + 1 : argv[0]) == 0);
}

// Bytes that differ from place to place and from seed to seed.
static inline void fill(void* bytes, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; ++i)
    ((unsigned char*)bytes)[i] = (unsigned char)((i * 7 + i / 251 + seed * 13) & 255);
}

static inline bool is_filled(const void* bytes, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; ++i)
    if (((const unsigned char*)bytes)[i] != (unsigned char)((i * 7 + i / 251 + seed * 13) & 255))
      return false;
  return true;
}

static inline bool is_zero(const void* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i)
    if (((const unsigned char*)bytes)[i] != 0) return false;
  return true;
}

// A new file with that content, open for reading and writing.
static inline int make(const char* name, size_t size, unsigned seed) {
  const int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0666);
  char* bytes = malloc(size + 1);
  CHECK(fd >= 0 && bytes);
  fill(bytes, size, seed);
  CHECK(write(fd, bytes, size) == (ssize_t)size);
  free(bytes);
  return fd;
}

static inline struct stat stat_fd(int fd) {
  struct stat status;
  CHECK(fstat(fd, &status) == 0);
  return status;
}

static inline struct stat stat_name(const char* name) {
  struct stat status;
  CHECK(lstat(name, &status) == 0);
  return status;
}

static inline bool same_node(struct stat a, struct stat b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Waits for a child, and ends with its failure.
static inline void await(pid_t child) {
  int status;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  if (WEXITSTATUS(status) != 0) _exit(1);
}
