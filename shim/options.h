/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssirun's command line: design.md, "What users type". */
#ifndef SSI_SHIM_OPTIONS_H
#define SSI_SHIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { DEFAULT_RETRIES = 2 };

struct options {
  const char* guest;     /* --on; NULL: any */
  const char* exec_path; /* --exec: the shim's form, path already known; NULL: look `command[0]` up */
  char** command;        /* argv of the job, ended by NULL */
  bool local, remote, dry_run, verbose, wait;
  int64_t wait_seconds; /* -1: for ever */
  uint32_t cpus, retries;
  uint64_t memory; /* bytes; 0: not given */
};

/* -1: go on. Otherwise ssirun is done, with this exit status: help was printed, or an error line. */
int parse_options(int argc, char** argv, struct options* options);

#endif
