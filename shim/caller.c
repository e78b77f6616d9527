/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char* const own_variables[] = {"SSI_DISABLE",   "SSI_LOG",  "SSI_CONFIG",
                                            "SSI_SCHEDULER", "SSI_SHIM", "SSI_TRACE", "SSI_ALLOW_TABLE"};
static const char preload[] = "LD_PRELOAD=";
static const char own_library[] = "libssi-shim.so";

int switched_on(const char* variable) {
  const char* value = getenv(variable);
  return value && *value && strcmp(value, "0") != 0;
}

uint64_t signal_bits(const sigset_t* set) {
  uint64_t bits = 0;
  for (int number = 1; number <= 64; number++)
    if (sigismember(set, number) == 1) bits |= UINT64_C(1) << (number - 1);
  return bits;
}

static bool is_ours(const char* entry) {
  for (size_t i = 0; i < sizeof own_variables / sizeof *own_variables; i++) {
    size_t length = strlen(own_variables[i]);
    if (!strncmp(entry, own_variables[i], length) && entry[length] == '=') return true;
  }
  return false;
}

static bool is_shim(const char* library, size_t length) {
  const size_t own = sizeof own_library - 1;
  return length >= own && !memcmp(library + length - own, own_library, own) &&
         (length == own || library[length - own - 1] == '/');
}

/* LD_PRELOAD without our entry. The same string when it has none; NULL when nothing else is in it. ld.so(8):
 * entries are separated by colons or spaces. */
static char* without_shim(char* entry) {
  const char* at = entry + sizeof preload - 1;
  char* kept = malloc(strlen(entry) + 1);
  if (!kept) return entry;
  size_t used = sizeof preload - 1;
  memcpy(kept, entry, used);
  bool found = false, others = false;
  while (*at) {
    size_t length = strcspn(at, ": ");
    bool ours = is_shim(at, length);
    found |= ours;
    if (length && !ours) {
      if (others) kept[used++] = ':';
      memcpy(kept + used, at, length);
      used += length;
      others = true;
    }
    at += length + (at[length] != 0);
  }
  kept[used] = 0;
  if (found && others) return kept;
  free(kept);
  return found ? NULL : entry;
}

static bool take_environment(struct caller* caller, struct reason* why) {
  size_t count = 0;
  while (environ && environ[count]) count++;
  caller->environment = calloc(count + 1, sizeof *caller->environment);
  if (!caller->environment) {
    because(why, "%s", strerror(ENOMEM));
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    char* entry = environ[i];
    if (is_ours(entry)) continue;
    if (!strncmp(entry, preload, sizeof preload - 1)) entry = without_shim(entry);
    if (entry) caller->environment[caller->environment_count++] = entry;
  }
  return true;
}

static void take_signals(struct caller* caller) {
  sigprocmask(SIG_BLOCK, NULL, &caller->blocked);
  sigemptyset(&caller->ignored);
  for (int number = 1; number <= 64; number++) {
    struct sigaction action;
    if (!sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN)
      sigaddset(&caller->ignored, number);
  }
}

bool take_caller(struct caller* caller, struct reason* why) {
  *caller = (struct caller){0};
  caller->group_leader = getpgrp() == getpid();
  caller->cwd = getcwd(NULL, 0);
  caller->umask = umask(0);
  umask(caller->umask);
  caller->nice = getpriority(PRIO_PROCESS, 0);
  for (unsigned i = 0; i < HANDOVER_LIMITS; i++) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit((__rlimit_resource_t)i, &limit);
    caller->limits[i] = (struct handover_limit){limit.rlim_cur, limit.rlim_max};
  }
  take_signals(caller);
  return take_descriptors(&caller->descriptors, why) && take_environment(caller, why);
}
