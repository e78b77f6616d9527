/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/path_shim.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "shim/bound.h"
#include "shim/resolve.h"

/* So often may a program of one name lead to itself before its shim is taken out of the way: a recursive make does, and
 * a wrapper that nobody knows here. */
enum { MOST_ROUNDS = 10 };
static const char rounds_variable[] = "SSI_SHIM"; /* NAME:ROUNDS */

static const char* const wrappers[] = {"ccache", "distcc", "icecc", "sccache"};

static const char* basename_of(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static bool is_same(const struct stat* a, const struct stat* b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool is_self(const char* path) {
  struct stat self, file;
  return !stat("/proc/self/exe", &self) && !stat(path, &file) && is_same(&self, &file);
}

const char* started_as(char** argv) {
  /* fexecve(3) has no path to tell; a script's interpreter is told the script's. */
  const char* path = (const char*)(uintptr_t)getauxval(AT_EXECFN);
  if (path && !is_other_name(path)) return path;
  if (path && strncmp(path, "/dev/fd/", 8) != 0 && is_self(path)) return path;
  return argv[0] ? argv[0] : "";
}

bool is_other_name(const char* path) {
  const char* name = basename_of(path);
  return *name && strcmp(name, "ssi") != 0 && strncmp(name, "ssirun", 6) != 0 &&
         strncmp(name, "ssi-", 4) != 0;
}

/* An empty entry of PATH means the working directory. */
static bool look_at(const char* entry, size_t length, struct stat* directory) {
  char path[PATH_MAX];
  const int used = snprintf(path, sizeof path, "%.*s/.", length ? (int)length : 1, length ? entry : ".");
  return used > 0 && (size_t)used < sizeof path && !stat(path, directory);
}

static bool look_at_parent(const char* path, struct stat* directory) {
  const char* slash = strrchr(path, '/');
  return look_at(path, slash ? (size_t)(slash - path) + (slash == path) : 0, directory);
}

static bool is_at(const char* entry, size_t length, const struct stat* place) {
  struct stat directory;
  return look_at(entry, length, &directory) && is_same(&directory, place);
}

static const char* next_entry(const char* entry) {
  entry += strcspn(entry, ":");
  return *entry ? entry + 1 : NULL;
}

/* What PATH finds in its entries from `entry` to `end`. */
static char* find(const char* entry, const char* end, const char* name, const struct stat* place,
                  int* error) {
  for (; entry && entry != end; entry = next_entry(entry)) {
    const size_t length = strcspn(entry, ":");
    char* path = is_at(entry, length, place) ? NULL : joined(entry, length, name);
    if (!path) continue;
    const int problem = executable_error(path);
    char* original = problem || !is_self(path) ? NULL : bound_original(path);
    const bool leads_back = !problem && !original && is_self(path);
    free(original);
    if (!problem && !leads_back) return path;
    if (problem == EACCES) *error = EACCES;
    free(path);
  }
  return NULL;
}

static bool is_wrapper(const char* program) {
  char* real = realpath(program, NULL);
  bool found = false;
  for (size_t i = 0; real && i < sizeof wrappers / sizeof *wrappers; i++)
    found |= !strcmp(basename_of(real), wrappers[i]);
  free(real);
  return found;
}

/* Counts on in the environment of what comes below. */
static bool has_gone_round(const char* name) {
  const char* before = getenv(rounds_variable);
  const size_t length = strlen(name);
  int rounds = 1;
  if (before && !strncmp(before, name, length) && before[length] == ':') rounds += atoi(before + length + 1);
  char text[NAME_MAX + 20];
  snprintf(text, sizeof text, "%s:%d", name, rounds);
  setenv(rounds_variable, text, 1);
  return rounds > MOST_ROUNDS;
}

static void take_out_of_path(const char* directories, const struct stat* place) {
  char* kept = malloc(strlen(directories) + 1);
  if (!kept) return;
  size_t used = 0;
  bool any = false;
  for (const char* entry = directories; entry; entry = next_entry(entry)) {
    const size_t length = strcspn(entry, ":");
    if (is_at(entry, length, place)) continue;
    if (any) kept[used++] = ':';
    memcpy(kept + used, entry, length);
    used += length;
    any = true;
  }
  kept[used] = 0;
  setenv("PATH", kept, 1);
  free(kept);
}

char* behind_shim(const char* shim, int* error) {
  const char* name = basename_of(shim);
  const char* directories = getenv("PATH");
  if (!directories) directories = "/bin:/usr/bin"; /* as in resolve_command */
  *error = ENOENT;
  struct stat place;
  if (!look_at_parent(shim, &place)) return NULL;
  /* Behind the shim's own directory first: what stands before it has perhaps led here. */
  const char* own = directories;
  while (own && !is_at(own, strcspn(own, ":"), &place)) own = next_entry(own);
  char* program = own ? find(own, NULL, name, &place, error) : NULL;
  if (!program) program = find(directories, own, name, &place, error);
  if (program && (is_wrapper(program) || has_gone_round(name))) take_out_of_path(directories, &place);
  return program;
}
