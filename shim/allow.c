/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/allow.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "common/allow_table.h"
#include "common/raw_syscall.h"
#include "shim/text.h"

enum { PATH_SIZE = 1024 };

/* Mapped once in a process and kept; the descriptor is not. A vfork child publishes for its parent: same
 * memory. */
static const struct allow_header* published;
static const struct allow_header nothing = {.off = 1};

/* The strings end inside the file, since its last byte is NUL. */
static bool is_sound(const struct allow_header* table, uint64_t size) {
  return table->magic == ALLOW_MAGIC && table->version == ALLOW_VERSION && table->size == size &&
         table->slots && !(table->slots & (table->slots - 1)) &&
         table->slots <= ALLOW_MAX / sizeof(struct allow_entry) &&
         sizeof *table + table->slots * sizeof(struct allow_entry) <= size && table->ssirun < size &&
         !((const char*)table)[size - 1];
}

static bool is_trusted(const struct statx* file) {
  const long user = raw4(SYS_geteuid, 0, 0, 0, 0);
  return (file->stx_mode & S_IFMT) == S_IFREG && (file->stx_uid == user || !file->stx_uid) &&
         !(file->stx_mode & 022) && file->stx_size > sizeof(struct allow_header) &&
         file->stx_size <= ALLOW_MAX;
}

static const struct allow_header* map_table(const char* path) {
  const long fd = raw4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return NULL;
  struct statx file;
  const bool trusted =
      !raw6(SYS_statx, fd, (long)"", AT_EMPTY_PATH, STATX_BASIC_STATS, (long)&file, 0) && is_trusted(&file);
  const long size = trusted ? (long)file.stx_size : 0;
  const long at = trusted ? raw6(SYS_mmap, 0, size, PROT_READ, MAP_PRIVATE, fd, 0) : -1;
  raw4(SYS_close, fd, 0, 0, 0);
  if (at < 0 && at > -4096) return NULL;
  const struct allow_header* table = (const struct allow_header*)at;
  if (is_sound(table, file.stx_size)) return table;
  raw4(SYS_munmap, at, size, 0, 0);
  return NULL;
}

/* $XDG_STATE_HOME/ssi, or $HOME/.local/state/ssi */
static const struct allow_header* map_own_table(char* const environment[]) {
  char path[PATH_SIZE];
  size_t used = 0;
  const char* below = "/ssi/" ALLOW_FILE;
  const char* base = text_variable(environment, "XDG_STATE_HOME");
  if (!base || *base != '/') {
    base = text_variable(environment, "HOME");
    below = "/.local/state/ssi/" ALLOW_FILE;
  }
  if (!base || *base != '/' || !text_append(path, sizeof path, &used, base, text_length(base)) ||
      !text_append(path, sizeof path, &used, below, text_length(below)))
    return NULL;
  return map_table(path);
}

static const struct allow_header* the_table(char* const environment[]) {
  const struct allow_header* table = __atomic_load_n(&published, __ATOMIC_ACQUIRE);
  if (table) return table;
  const struct allow_header* mapped = map_own_table(environment);
  if (!mapped) mapped = map_table(ALLOW_SYSTEM_FILE);
  if (!mapped) mapped = &nothing;
  if (__atomic_compare_exchange_n(&published, &table, mapped, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return mapped;
  if (mapped != &nothing) raw4(SYS_munmap, (long)mapped, mapped->size, 0, 0); /* another thread was faster */
  return table;
}

const char* allow_lookup(const char* basename, char* const environment[]) {
  const struct allow_header* table = the_table(environment);
  if (table->off) return NULL;
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
