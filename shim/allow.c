/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/allow.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdint.h>
#include <sys/mman.h>

#include "common/allow_table.h"
#include "common/raw_syscall.h"
#include "shim/text.h"

enum { PATH_SIZE = 1024 };

/* What this process has mapped; the descriptors are not kept. A vfork child publishes for its parent: same memory. */
static const struct allow_header *own_table, *system_table;
static const struct allow_header refused = {.flags = ALLOW_OFF}; /* a file that is no table, or not to be trusted */
static char own_variable[PATH_SIZE];          /* ALLOW_VARIABLE "=" and the user's file; empty: there is no telling */
static const char* own_file = own_variable;    /* behind the "=" */

/* The strings end inside the file, since its last byte is NUL. */
static bool is_sound(const struct allow_header* table, uint64_t size) {
  const char* bytes = (const char*)table;
  return table->magic == ALLOW_MAGIC && table->version == ALLOW_VERSION && table->size == size &&
         table->slots && !(table->slots & (table->slots - 1)) &&
         table->slots <= ALLOW_MAX / sizeof(struct allow_entry) &&
         sizeof *table + table->slots * sizeof(struct allow_entry) <= size && table->ssirun < size &&
         bytes[table->ssirun] == '/' && !bytes[size - 1];
}

static bool is_trusted(const struct statx* file) {
  const long user = raw4(SYS_geteuid, 0, 0, 0, 0);
  return (file->stx_mode & S_IFMT) == S_IFREG && (file->stx_uid == user || !file->stx_uid) &&
         !(file->stx_mode & 022) && file->stx_size > sizeof(struct allow_header) &&
         file->stx_size <= ALLOW_MAX;
}

/* NULL: there is none. Shared, so that the mark of a table that has been replaced is seen. */
static const struct allow_header* map_table(const char* path) {
  const long fd = raw4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return NULL;
  struct statx file;
  const bool trusted =
      !raw6(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&file, 0) && is_trusted(&file);
  const long size = trusted ? (long)file.stx_size : 0;
  const long at = trusted ? raw6(SYS_mmap, 0, size, PROT_READ, MAP_SHARED, fd, 0) : -1;
  raw4(SYS_close, fd, 0, 0, 0);
  if (at < 0 && at > -4096) return &refused;
  const struct allow_header* table = (const struct allow_header*)at;
  if (is_sound(table, file.stx_size)) return table;
  raw4(SYS_munmap, at, size, 0, 0);
  return &refused;
}

static bool is_replaced(const struct allow_header* table) {
  return __atomic_load_n(&table->replaced, __ATOMIC_RELAXED);
}

/* The one that we have opened may be replaced just then, and again. A file that came with the mark is none. */
static const struct allow_header* map_newest(const char* path) {
  for (int tries = 0; tries < 16; tries++) {
    const struct allow_header* table = map_table(path);
    if (!table || !is_replaced(table)) return table;
    raw4(SYS_munmap, (long)table, table->size, 0, 0);
  }
  return &refused;
}

/* What is published, mapped anew when it was replaced, and tried again each time when there was none: an openat that fails takes
 * 1 us. A replaced table stays mapped. Another thread, or the parent of a vfork child, may be reading it, and nothing tells when that
 * ends; it is a page or two of the page cache, once for each `ssi allow compile` that this process sees. */
static const struct allow_header* current(const struct allow_header** published, const char* path) {
  const struct allow_header* table = __atomic_load_n(published, __ATOMIC_ACQUIRE);
  if (table && !is_replaced(table)) return table;
  const struct allow_header* mapped = map_newest(path);
  if (mapped == &refused) return mapped;
  if (__atomic_compare_exchange_n(published, &table, mapped, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return mapped;
  if (mapped) raw4(SYS_munmap, (long)mapped, mapped->size, 0, 0); /* another thread was faster */
  return table;
}

/* $XDG_STATE_HOME/ssi, or $HOME/.local/state/ssi; or what the one who brought us along says. False: nowhere. */
static bool find_file(char* const environment[], char file[PATH_SIZE]) {
  size_t used = 0;
  const char* below = "";
  const char* base = text_variable(environment, ALLOW_VARIABLE);
  if (!base || *base != '/') {
    base = text_variable(environment, "XDG_STATE_HOME");
    below = "/ssi/" ALLOW_FILE;
  }
  if (!base || *base != '/') {
    base = text_variable(environment, "HOME");
    below = "/.local/state/ssi/" ALLOW_FILE;
  }
  return base && *base == '/' && text_append(file, PATH_SIZE, &used, base, text_length(base)) &&
         text_append(file, PATH_SIZE, &used, below, text_length(below));
}

void allow_remember(char* const environment[]) {
  static const char start[] = ALLOW_VARIABLE "=";
  char file[PATH_SIZE];
  size_t used = 0;
  if (!find_file(environment, file) ||
      !text_append(own_variable, sizeof own_variable, &used, start, sizeof start - 1) ||
      !text_append(own_variable, sizeof own_variable, &used, file, text_length(file))) {
    own_variable[0] = 0;
    return;
  }
  own_file = own_variable + sizeof start - 1;
}

const char* allow_variable(char* const envp[]) {
  char file[PATH_SIZE];
  return !*own_file || (find_file(envp, file) && text_equal(file, own_file)) ? NULL : own_variable;
}

/* A bad table of the user's diverts nothing: that of the system does not stand in for it. */
const struct allow_header* allow_table(void) {
  const struct allow_header* table = *own_file ? current(&own_table, own_file) : NULL;
  if (!table) table = current(&system_table, ALLOW_SYSTEM_FILE);
  return table && !(table->flags & ALLOW_OFF) ? table : NULL;
}

const char* allow_ssirun(const struct allow_header* table, const char* basename) {
  const char* bytes = (const char*)table;
  const struct allow_entry* entries = (const struct allow_entry*)(table + 1);
  const uint32_t hash = allow_hash(basename);
  for (uint32_t probe = 0; probe < table->slots; probe++) {
    const struct allow_entry* entry = &entries[(hash + probe) & (table->slots - 1)];
    if (!entry->name) return NULL;
    if (entry->hash == hash && entry->name < table->size && text_equal(bytes + entry->name, basename))
      return bytes + table->ssirun;
  }
  return NULL;
}

bool allow_reinjects(const struct allow_header* table) {
  return !(table->flags & ALLOW_NO_REINJECT);
}
