/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/signals.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

sigset_t forwarded_signals(const struct caller* caller, bool started) {
  sigset_t set;
  sigfillset(&set);
  for (int number = 1; number <= 64; number++)
    if (sigismember(&caller->ignored, number) == 1 ||
        (!started && sigismember(&caller->blocked, number) == 1))
      sigdelset(&set, number);
  return set;
}

void hold_signals(const struct caller* caller) {
  sigset_t set = forwarded_signals(caller, false);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

void release_signals(const struct caller* caller) {
  sigprocmask(SIG_SETMASK, &caller->blocked, NULL);
}

static sigset_t only(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  return set;
}

void act_by_default(int number) {
  sigset_t set = only(number);
  raise(number);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

void die_by(int number) {
  /* The core, if any, is of the job, not of ssirun; a core_pattern with a pipe ignores the limit. */
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  prctl(PR_SET_DUMPABLE, 0);
  signal(number, SIG_DFL);
  sigset_t set = only(number);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  raise(number);
}
