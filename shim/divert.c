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

static bool switches_off(char* const environment[]) {
  const char* value = text_variable(environment, "SSI_DISABLE");
  return value && *value && !text_equal(value, "0");
}

bool is_disabled(char* const envp[]) {
  return switches_off(envp) || switches_off(own_environment());
}

#define RUNTIME "XDG_RUNTIME_DIR"
static char runtime[256]; /* empty: it was not set */

void divert_remember(char* const environment[]) {
  const char* value = text_variable(environment, RUNTIME);
  size_t used = 0;
  if (!value || !text_append(runtime, sizeof runtime, &used, value, text_length(value))) runtime[0] = 0;
}

bool is_traced(void) {
  char status[1024]; /* TracerPid is among the first 150 bytes, behind a name of at most 64 */
  const long fd = raw4(SYS_openat, AT_FDCWD, (long)"/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  const long length = raw4(SYS_read, fd, (long)status, sizeof status - 1, 0);
  raw4(SYS_close, fd, 0, 0, 0);
  status[length > 0 ? length : 0] = 0;
  for (const char* line = status; *line; line++)
    if (line != status && line[-1] == '\n' && text_begins(line, "TracerPid:\t")) return line[sizeof "TracerPid:\t" - 1] != '0';
  return false;
}

enum format { UNKNOWN, SCRIPT, ELF };

/* What we may not read a guest could not either: unknown. */
static enum format format_of(const char* path) {
  const long fd = raw4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return UNKNOWN;
  char magic[4] = {0};
  const long length = raw4(SYS_read, fd, (long)magic, sizeof magic, 0);
  raw4(SYS_close, fd, 0, 0, 0);
  if (length >= 2 && magic[0] == '#' && magic[1] == '!') return SCRIPT;
  return length == 4 && magic[0] == 0x7f && magic[1] == 'E' && magic[2] == 'L' && magic[3] == 'F' ? ELF : UNKNOWN;
}

static bool is_same_file(const struct statx* a, const struct statx* b) {
  return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor;
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

const char* divert_wanted(const struct allow_header* table, const char* file, char* const argv[], char* const envp[]) {
  /* Through uintptr_t: the compiler must not believe that it knows these to be non-NULL. */
  if (!(uintptr_t)file || !(uintptr_t)argv || !argv[0]) return NULL;
  const char* name = text_basename(file);
  const char* ssirun = *name ? allow_ssirun(table, name) : NULL;
  if (!ssirun || text_equal(file, ssirun) || is_disabled(envp)) return NULL;
  return text_count(argv, MOST_ARGUMENTS) <= MOST_ARGUMENTS ? ssirun : NULL;
}

/* Other formats give ENOEXEC, which callers handle in their own ways: bash runs such a file itself, execvp with sh. */
bool divert_path(const char* path) {
  return !executable_error(path) && format_of(path) != UNKNOWN;
}

/* The next entry of PATH joined with `name`; the bare name for an empty entry. False: it doesn't fit. */
static bool join(char found[FOUND_SIZE], const char* entry, size_t length, const char* name) {
  size_t used = 0;
  found[0] = 0;
  return text_append(found, FOUND_SIZE, &used, entry, length) &&
         (!length || text_append(found, FOUND_SIZE, &used, "/", 1)) &&
         text_append(found, FOUND_SIZE, &used, name, text_length(name));
}

const char* divert_name(const char* name, bool absolute, char found[FOUND_SIZE]) {
  const char* entry = text_variable(own_environment(), "PATH"); /* unset: libcs differ */
  while (entry) {
    size_t length = 0;
    while (entry[length] && entry[length] != ':') length++;
    if (!join(found, entry, length, name)) return NULL;
    const int error = executable_error(found);
    if (!error) return (!absolute || *entry == '/') && format_of(found) != UNKNOWN ? found : NULL;
    if (!is_skipped(error)) return NULL;
    entry = entry[length] ? entry + length + 1 : NULL;
  }
  return NULL;
}

/* Not a memfd and nothing that was deleted: no path leads to them. Not a script: its interpreter would be told /dev/fd/N. */
const char* divert_descriptor(int descriptor, char found[FOUND_SIZE]) {
  char link[32] = "/proc/self/fd/";
  struct statx opened, named;
  if (descriptor < 0 || !text_append_number(link, sizeof link, (unsigned)descriptor)) return NULL;
  const long length = raw4(SYS_readlinkat, AT_FDCWD, (long)link, (long)found, FOUND_SIZE - 1);
  if (length <= 0) return NULL;
  found[length] = 0;
  if (*found != '/' || raw6(SYS_statx, descriptor, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&opened, 0) ||
      raw6(SYS_statx, AT_FDCWD, (long)found, 0, STATX_BASIC_STATS, (long)&named, 0) || !is_same_file(&opened, &named))
    return NULL;
  return !executable_error(found) && format_of(found) == ELF ? found : NULL;
}

void divert_words(const char* ssirun, const char* path, char* const argv[], size_t count, char* const envp[], char* words[]) {
  const bool is_lost = *runtime && !text_variable(envp, RUNTIME);
  const char* extra[EXTRA_WORDS] = {ssirun, "--exec", path, is_lost ? "--runtime" : "--", runtime, "--"};
  const size_t used = is_lost ? EXTRA_WORDS : EXTRA_WORDS - 2;
  for (size_t i = 0; i < used; i++) words[i] = (char*)(uintptr_t)extra[i];
  for (size_t i = 0; i <= count; i++) words[used + i] = argv[i];
}
