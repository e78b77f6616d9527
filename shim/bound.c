/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/bound.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/deep_mount.h"
#include "shim/path_shim.h"
#include "shim/resolve.h"

/* proc(5): blanks, tabs, newlines and backslashes stand as \ooo. */
static void unescape(char* text) {
  char* to = text;
  for (const char* from = text; *from; to++) {
    unsigned code = 0;
    if (*from == '\\' && sscanf(from, "\\%3o", &code) == 1) {
      *to = (char)code;
      from += 4;
    } else {
      *to = *from++;
    }
  }
  *to = 0;
}

/* The place of the deep shell's own mount in this namespace, with `below` behind it. By the mount table: no variable of
 * the environment reaches everybody. */
static bool find_deep(char* path, size_t size, const char* below) {
  FILE* table = fopen("/proc/self/mountinfo", "re");
  char* line = NULL;
  size_t room = 0;
  bool found = false;
  while (table && !found && getline(&line, &room, table) > 0) {
    char place[PATH_MAX];
    if (!strstr(line, " - tmpfs " DEEP_SOURCE " ") || sscanf(line, "%*s %*s %*s %*s %4095s", place) != 1)
      continue;
    unescape(place);
    const int used = snprintf(path, size, "%s%s", place, below);
    found = used > 0 && (size_t)used < size;
  }
  free(line);
  if (table) fclose(table);
  return found;
}

bool in_deep_shell(void) {
  char place[PATH_MAX];
  return find_deep(place, sizeof place, "");
}

bool deep_runtime_directory(char* path, size_t size) {
  char link[PATH_MAX];
  const ssize_t length = find_deep(link, sizeof link, DEEP_RUNTIME) ? readlink(link, path, size) : -1;
  if (length <= 0 || (size_t)length >= size) return false;
  path[length] = 0;
  return true;
}

char* bound_original(const char* path) {
  char tree[PATH_MAX];
  char* place = realpath(path, NULL);
  char* original = NULL;
  if (place && find_deep(tree, sizeof tree, DEEP_TREE) && asprintf(&original, "%s%s", tree, place) < 0)
    original = NULL;
  free(place);
  if (original && !executable_error(original) && !is_self(original)) return original;
  free(original);
  return NULL;
}

char* bound_program(const char* started_as) {
  /* The link shows where the file was found, which is the mount's place. */
  char own[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
  if (length <= 0) return NULL;
  own[length] = 0;
  if (!is_other_name(own)) return NULL;
  char* original = bound_original(own);
  if (!original) return NULL;
  free(original);
  return strdup(*started_as && strchr(started_as, '/') && is_self(started_as) ? started_as : own);
}
