/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_number(const void* a, const void* b) {
  const struct handover_descriptor *left = a, *right = b;
  return left->number < right->number ? -1 : left->number > right->number;
}

/* All numbers of one terminal: that of the lowest one. What is another terminal is a device like any other. */
static void mark_terminal(struct descriptors* descriptors) {
  dev_t terminal = 0;
  bool found = false;
  for (uint32_t i = 0; i < descriptors->count; i++) {
    struct stat status;
    const int fd = (int)descriptors->list[i].number;
    if (fstat(fd, &status) || !S_ISCHR(status.st_mode) || !isatty(fd)) continue;
    if (!found) terminal = status.st_rdev;
    found = true;
    descriptors->list[i].terminal = status.st_rdev == terminal;
  }
}

bool take_descriptors(struct descriptors* descriptors, struct reason* why) {
  descriptors->count = 0;
  DIR* open_files = opendir("/proc/self/fd");
  if (!open_files) {
    because(why, "/proc/self/fd: %s", strerror(errno));
    return false;
  }
  const struct dirent* entry;
  bool all = true;
  while ((entry = readdir(open_files))) {
    if (entry->d_name[0] == '.') continue;
    const uint32_t number = (uint32_t)strtoul(entry->d_name, NULL, 10);
    if ((int)number == dirfd(open_files)) continue;
    all = descriptors->count < HANDOVER_DESCRIPTORS;
    if (!all) break;
    descriptors->list[descriptors->count++] = (struct handover_descriptor){number, 0};
  }
  closedir(open_files);
  qsort(descriptors->list, descriptors->count, sizeof *descriptors->list, by_number);
  mark_terminal(descriptors);
  if (!all) because(why, "it inherits more than %u descriptors", HANDOVER_DESCRIPTORS);
  return all;
}

int terminal_number(const struct descriptors* descriptors) {
  for (uint32_t i = 0; i < descriptors->count; i++)
    if (descriptors->list[i].terminal) return (int)descriptors->list[i].number;
  return -1;
}

void close_descriptors(const struct descriptors* descriptors) {
  for (uint32_t i = 0; i < descriptors->count; i++) close((int)descriptors->list[i].number);
}

void put_back(const struct descriptors* descriptors, const int* fds, uint32_t count) {
  const int above = descriptors->count ? (int)descriptors->list[descriptors->count - 1].number + 1 : 0;
  int lifted[HANDOVER_DESCRIPTORS];
  for (uint32_t i = 0; i < count; i++) {
    lifted[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
    close(fds[i]);
  }
  for (uint32_t i = 0; i < count && i < descriptors->count; i++)
    if (lifted[i] >= 0) dup2(lifted[i], (int)descriptors->list[i].number);
}
