/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The compiled allow-list that the shim maps: which basenames it diverts, and to which ssirun. Plain C. Written by
 * `ssi allow compile` beside its final name and renamed (truncating it would SIGBUS its readers); owner the user or
 * root, not writable by others; at most ALLOW_MAX bytes. Processes keep it mapped, and look at `replaced` there: the file that
 * a new one took the place of is marked, after the rename.
 *
 * Layout: struct allow_header, then `slots` (a power of two) struct allow_entry, an open-addressed hash table over
 * allow_hash(basename) with linear probing, then NUL-ended strings. */
#ifndef SSI_COMMON_ALLOW_TABLE_H
#define SSI_COMMON_ALLOW_TABLE_H

#include <stdint.h>

#define ALLOW_MAGIC 0x41495353u /* "SSIA" */
#define ALLOW_VERSION 1u
#define ALLOW_MAX 65536u
#define ALLOW_FILE "allow.table" /* in the state directory; then /var/lib/ssi/ */
#ifndef ALLOW_SYSTEM_FILE /* a test has another */
#define ALLOW_SYSTEM_FILE "/var/lib/ssi/allow.table"
#endif
#define ALLOW_VARIABLE "SSI_ALLOW_TABLE" /* of the environment: the first one's path, where the shim had to bring itself along */

struct allow_header {
  uint32_t magic, version;
  uint32_t flags;
  uint32_t generation;
  uint32_t slots;  /* power of two */
  uint32_t ssirun; /* offset in the file of ssirun's absolute path */
  uint32_t size;   /* of the whole file */
  uint32_t replaced; /* 1: this is not the table any more */
};

enum { ALLOW_OFF = 1, ALLOW_NO_REINJECT = 2 }; /* flags: divert nothing; leave LD_PRELOAD as it is */

struct allow_entry { /* name == 0: empty */
  uint32_t hash;
  uint32_t name; /* offset in the file of the basename */
  uint32_t rule; /* index of the [[app]] */
  uint32_t reserved;
};

/* FNV-1a */
static inline uint32_t allow_hash(const char* text) {
  uint32_t hash = 2166136261u;
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
  return hash;
}

#endif
