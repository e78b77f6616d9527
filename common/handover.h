/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What ssirun and the deputy say to each other over the deputy's unix socket (SOCK_STREAM). Plain C: ssirun links libc
 * only. Same machine, same user (SO_PEERCRED), so native byte order.
 *
 * Every message is a struct handover_header, then `length` bytes. ssirun opens with HANDOVER_RUN; its descriptors
 * travel as SCM_RIGHTS with the header's first byte, the channel of its terminal behind them. Either side closing the
 * socket ends the conversation: ssirun gone means the job is killed; the deputy gone means ssirun exits 125. */
#ifndef SSI_COMMON_HANDOVER_H
#define SSI_COMMON_HANDOVER_H

#include <stdint.h>

#define HANDOVER_VERSION 2u
#define HANDOVER_SOCKET "deputy.sock" /* in the runtime directory */
#define HANDOVER_MAX (16u << 20)      /* bytes of one message */
#define HANDOVER_LIMITS 16            /* RLIMIT_* carried */
#define HANDOVER_DESCRIPTORS 200u     /* that one caller may pass */
#define HANDOVER_CHARACTERS 32        /* c_cc of a termios */

enum handover_kind {
  /* ssirun -> deputy */
  HANDOVER_RUN = 1,     /* struct handover_run, then its strings */
  HANDOVER_SIGNAL = 2,  /* struct handover_signal: one that ssirun got */
  HANDOVER_WITNESS = 3, /* int32_t: pid of the other process in ssirun's group (shim/witness.h) */
  HANDOVER_WINDOW = 4,  /* struct handover_window: the terminal's size has changed */
  HANDOVER_HANGUP = 5,  /* the terminal is gone */
  HANDOVER_FOREGROUND =
      7, /* int32_t: 1: what the job does at its terminal it does in the foreground; 0: not any more */
  HANDOVER_KILL = 6, /* of `ssi kill`, in place of HANDOVER_RUN: struct handover_kill */
  /* deputy -> ssirun */
  /* text: the reason. exec the command yourself. After HANDOVER_STARTED the descriptors come back as they were sent,
   * the channel excepted. */
  HANDOVER_HOME = 16,
  HANDOVER_EXITED = 17,        /* struct handover_exited, ..., text: the line for --verbose (may be empty) */
  HANDOVER_FAILED = 18,        /* int32_t exit status (125), then text: one line for stderr */
  HANDOVER_PLACED = 19,        /* text for --dry-run: one line for stdout; exit 0 */
  HANDOVER_STARTED = 20,       /* text: guest's name. The job runs (or will): home is no longer possible */
  HANDOVER_WARNING = 21,       /* text: one line for stderr, at once; more follows */
  HANDOVER_WAITING = 26,       /* text: what to show on a terminal until something else is said; more follows */
  HANDOVER_STOPPED = 22,       /* int32_t: the job's leader was stopped by this signal; SIGCONT: it goes on */
  HANDOVER_STDERR_CLOSED = 25, /* the job has closed its fd 2: who reads it is to see the end of it */
  HANDOVER_KILLED = 24,        /* int32_t: 0 or an errno */
  HANDOVER_MODES = 23          /* struct handover_modes: what the job has set on its terminal */
};

enum handover_flag {
  HANDOVER_REMOTE = 1, /* never at home */
  HANDOVER_DRY_RUN = 2,
  HANDOVER_VERBOSE = 4,
  HANDOVER_WAIT = 8,
  HANDOVER_DIVERTED = 16,      /* by the shim, not typed */
  HANDOVER_HAS_CWD = 32,       /* 0: getcwd failed (deleted) */
  HANDOVER_TERMINAL = 64,      /* some descriptors are the terminal; the last one passed carries its bytes */
  HANDOVER_GROUP_LEADER = 128, /* the caller leads its process group */
  HANDOVER_BACKGROUND = 256    /* HANDOVER_FOREGROUND has not been said yet */
};

struct handover_header {
  uint32_t kind;
  uint32_t length;
};

struct handover_limit {
  uint64_t soft, hard;
};

/* A terminal's modes, in Linux's numbers. */
struct handover_modes {
  uint32_t input, output, control, local;
  uint8_t characters[HANDOVER_CHARACTERS]; /* c_cc; the kernel's 19, then 0 */
};

struct handover_window {
  uint16_t rows, columns, x_pixels, y_pixels;
};

enum handover_to { HANDOVER_TO_LEADER = 0, HANDOVER_TO_GROUP = 1, HANDOVER_TO_FOREGROUND = 2 };

struct handover_signal {
  int32_t number;
  uint32_t to; /* enum handover_to: whom whoever sent it meant */
};

struct handover_kill {
  uint64_t job;
  int32_t signal;
  uint32_t reserved;
};

/* One descriptor that is passed: SCM_RIGHTS carries them in this order. */
struct handover_descriptor {
  uint32_t number;   /* at the caller */
  uint32_t terminal; /* 1: it is the caller's terminal */
};

/* Followed by `descriptors` of struct handover_descriptor, ascending, then `strings` bytes: NUL-ended, in this order:
 * path to exec, cwd, guest ("" for any), SSI_CONFIG, SSI_SCHEDULER (as set for ssirun, "" for none), then argc arguments,
 * then envc environment strings (already without our own). */
struct handover_run {
  uint32_t version;
  uint32_t flags;
  uint32_t argc, envc;
  uint32_t strings;
  uint32_t descriptors;
  uint32_t umask_;
  int32_t nice_;
  uint32_t cpus;
  uint32_t retries;
  uint64_t memory;           /* bytes, 0: not given */
  int64_t wait_seconds;      /* with HANDOVER_WAIT; -1: for ever */
  uint64_t blocked, ignored; /* signal sets at ssirun's start, bit n-1 for signal n */
  struct handover_limit limits[HANDOVER_LIMITS];
  struct handover_modes modes; /* with HANDOVER_TERMINAL */
  struct handover_window window;
};

/* Followed by `typed` bytes that were typed at the terminal and not read, then the text. */
struct handover_exited {
  int32_t wait_status; /* as wait(2) gives it */
  uint32_t typed;
  uint64_t taken; /* of the bytes sent through the channel those that reached the job's terminal */
};

#endif
