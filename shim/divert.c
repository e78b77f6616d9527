/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/divert.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdint.h>

#include "shim/allow.h"
#include "common/raw_syscall.h"
#include "shim/text.h"

extern char** environ __attribute__((weak));

char** own_environment(void) {
  return &environ ? environ : NULL;
}

static bool is_disabled(char* const environment[]) {
  const char* value = text_variable(environment, "SSI_DISABLE");
  return value && *value && !text_equal(value, "0");
}

/* ELF or a script with an interpreter. Others give ENOEXEC, which callers handle in their own ways: bash runs
 * such a file itself, execvp with sh. What we may not read a guest could not either. */
static bool has_known_format(const char* path) {
  const long fd = raw4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return false;
  char magic[4] = {0};
  const long length = raw4(SYS_read, fd, (long)magic, sizeof magic, 0);
  raw4(SYS_close, fd, 0, 0, 0);
  return (length >= 2 && magic[0] == '#' && magic[1] == '!') ||
         (length == 4 && magic[0] == 0x7f && magic[1] == 'E' && magic[2] == 'L' && magic[3] == 'F');
}

/* 0, or the errno that execve(2) would give. */
static int executable_error(const char* path) {
  struct statx file;
  const long found = raw6(SYS_statx, AT_FDCWD, (long)path, 0, STATX_BASIC_STATS, (long)&file, 0);
  if (found < 0) return (int)-found;
  if ((file.stx_mode & S_IFMT) != S_IFREG) return EACCES;
  if (file.stx_mode & (S_ISUID | S_ISGID)) return EPERM; /* would not be what it is in a guest */
  return (int)-raw4(SYS_faccessat2, AT_FDCWD, (long)path, 1 /* X_OK */, AT_EACCESS);
}

static bool is_skipped(int error) {
  return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV ||
         error == ETIMEDOUT;
}

/* The cheap part: the basename, and arguments that we can put others before. */
static const char* wanted(struct diversion* diversion, const char* path, char* const argv[],
                          char* const envp[]) {
  diversion->ssirun = NULL;
  /* Through uintptr_t: the compiler must not believe that it knows these to be non-NULL. */
  if (!(uintptr_t)path || !(uintptr_t)argv || !argv[0]) return NULL;
  const char* name = text_basename(path);
  const char* ssirun = *name ? allow_lookup(name, own_environment()) : NULL;
  if (!ssirun || text_equal(path, ssirun) || is_disabled(envp) || is_disabled(own_environment())) return NULL;
  size_t count = 0;
  while (argv[count] && count <= MOST_ARGUMENTS) count++;
  if (count > MOST_ARGUMENTS) return NULL;
  diversion->count = count;
  return ssirun;
}

void divert_path(struct diversion* diversion, const char* path, char* const argv[], char* const envp[]) {
  const char* ssirun = wanted(diversion, path, argv, envp);
  if (!ssirun || executable_error(path) || !has_known_format(path)) return;
  diversion->path = path;
  diversion->ssirun = ssirun;
}

/* The next entry of PATH joined with `name`; the bare name for an empty entry. False: it doesn't fit. */
static bool join(struct diversion* diversion, const char* entry, size_t length, const char* name) {
  size_t used = 0;
  diversion->found[0] = 0;
  return text_append(diversion->found, FOUND_SIZE, &used, entry, length) &&
         (!length || text_append(diversion->found, FOUND_SIZE, &used, "/", 1)) &&
         text_append(diversion->found, FOUND_SIZE, &used, name, text_length(name));
}

void divert_name(struct diversion* diversion, const char* name, char* const argv[], char* const envp[],
                 bool absolute) {
  if ((uintptr_t)name && text_has(name, '/')) return divert_path(diversion, name, argv, envp);
  const char* ssirun = wanted(diversion, name, argv, envp);
  const char* entry = ssirun ? text_variable(own_environment(), "PATH") : NULL; /* unset: libcs differ */
  while (entry) {
    size_t length = 0;
    while (entry[length] && entry[length] != ':') length++;
    if (!join(diversion, entry, length, name)) return;
    const int error = executable_error(diversion->found);
    if (!error) {
      if ((absolute && *entry != '/') || !has_known_format(diversion->found)) return;
      diversion->path = diversion->found;
      diversion->ssirun = ssirun;
      return;
    }
    if (!is_skipped(error)) return;
    entry = entry[length] ? entry + length + 1 : NULL;
  }
}

void divert_words(const struct diversion* diversion, char* const argv[], char* words[]) {
  const char* extra[EXTRA_WORDS] = {diversion->ssirun, "--exec", diversion->path, "--"};
  for (size_t i = 0; i < EXTRA_WORDS; i++) words[i] = (char*)(uintptr_t)extra[i];
  for (size_t i = 0; i <= diversion->count; i++) words[EXTRA_WORDS + i] = argv[i];
}
