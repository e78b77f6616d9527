/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What ssirun and the deputy say to each other over the deputy's unix socket (SOCK_STREAM). Plain C: ssirun links libc
 * only. Same machine, same user (SO_PEERCRED), so native byte order.
 *
 * Every message is a struct handover_header, then `length` bytes. ssirun opens with HANDOVER_RUN; its descriptors
 * travel as SCM_RIGHTS with the header's first byte. Either side closing the socket ends the conversation: ssirun gone
 * means the job is killed; the deputy gone means ssirun exits 125. */
#ifndef SSI_COMMON_HANDOVER_H
#define SSI_COMMON_HANDOVER_H

#include <stdint.h>

#define HANDOVER_VERSION 1u
#define HANDOVER_SOCKET "deputy.sock" /* in the runtime directory */
#define HANDOVER_MAX (16u << 20)      /* bytes of one message */
#define HANDOVER_LIMITS 16            /* RLIMIT_* carried */

enum handover_kind {
  /* ssirun -> deputy */
  HANDOVER_RUN = 1,    /* struct handover_run, then its strings */
  HANDOVER_SIGNAL = 2, /* int32_t: a signal that ssirun got, for the job's process group */
  /* deputy -> ssirun */
  HANDOVER_HOME =
      16, /* text: the reason. exec the command yourself; the descriptors come back as they were sent */
  HANDOVER_EXITED = 17,  /* struct handover_exited, then text: the line for --verbose (may be empty) */
  HANDOVER_FAILED = 18,  /* int32_t exit status (125), then text: one line for stderr */
  HANDOVER_PLACED = 19,  /* text for --dry-run: one line for stdout; exit 0 */
  HANDOVER_STARTED = 20, /* text: guest's name. The job runs (or will): home is no longer possible */
  HANDOVER_WARNING = 21  /* text: one line for stderr, at once; more follows */
};

enum handover_flag {
  HANDOVER_REMOTE = 1, /* never at home */
  HANDOVER_DRY_RUN = 2,
  HANDOVER_VERBOSE = 4,
  HANDOVER_WAIT = 8,
  HANDOVER_DIVERTED = 16, /* by the shim, not typed */
  HANDOVER_HAS_CWD = 32   /* 0: getcwd failed (deleted) */
};

struct handover_header {
  uint32_t kind;
  uint32_t length;
};

struct handover_limit {
  uint64_t soft, hard;
};

/* Followed by `strings` bytes: NUL-ended, in this order: path to exec, cwd, guest ("" for any), SSI_CONFIG, SSI_SCHEDULER
 * (as set for ssirun, "" for none), then argc arguments, then envc environment strings (already without our own). */
struct handover_run {
  uint32_t version;
  uint32_t flags;
  uint32_t argc, envc;
  uint32_t strings;
  uint32_t open_mask; /* bit n: fd n (0..2) was open and is passed, in ascending order */
  uint32_t umask_;
  int32_t nice_;
  uint32_t cpus;
  uint32_t retries;
  uint64_t memory;           /* bytes, 0: not given */
  int64_t wait_seconds;      /* with HANDOVER_WAIT; -1: for ever */
  uint64_t blocked, ignored; /* signal sets at ssirun's start, bit n-1 for signal n */
  struct handover_limit limits[HANDOVER_LIMITS];
};

struct handover_exited {
  int32_t wait_status; /* as wait(2) gives it */
  uint32_t reserved;
};

#endif
