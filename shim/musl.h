/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Put before each file of ssirun when it is built with musl: what musl 1.2.3 lacks, and its signal functions as glibc's are. musl keeps
 * signal 34 (glibc's SIGRTMIN) to itself; but ssirun passes on what others use, and has no threads. */
#ifndef SSI_SHIM_MUSL_H
#define SSI_SHIM_MUSL_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int __rlimit_resource_t;

static inline int close_range(unsigned first, unsigned last, int flags) {
  return (int)syscall(SYS_close_range, first, last, flags);
}

/* The kernel's set: 64 bits, which stand first in sigset_t. */
static inline uint64_t* kernel_set(const sigset_t* set) {
  return (uint64_t*)(uintptr_t)set;
}

static inline uint64_t signal_bit(int number) {
  return UINT64_C(1) << (number - 1);
}

static inline int set_fill(sigset_t* set) {
  *kernel_set(set) = ~(signal_bit(32) | signal_bit(33)); /* as glibc has it */
  return 0;
}

static inline int set_add(sigset_t* set, int number) {
  *kernel_set(set) |= signal_bit(number);
  return 0;
}

static inline int set_remove(sigset_t* set, int number) {
  *kernel_set(set) &= ~signal_bit(number);
  return 0;
}

static inline int set_has(const sigset_t* set, int number) {
  return (*kernel_set(set) & signal_bit(number)) != 0;
}

static inline int change_mask(int how, const sigset_t* set, sigset_t* old) {
  return (int)syscall(SYS_rt_sigprocmask, how, set, old, sizeof(uint64_t));
}

struct kernel_action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};

/* Only asked for: `new` is NULL. */
static inline int ask_action(int number, const struct sigaction* new, struct sigaction* old) {
  struct kernel_action action = {0};
  if (new || syscall(SYS_rt_sigaction, number, NULL, &action, sizeof action.mask)) return -1;
  old->sa_handler = action.handler;
  return 0;
}

/* SIG_DFL or SIG_IGN: they need no restorer. */
static inline int set_action(int number, void (*handler)(int)) {
  const struct kernel_action action = {.handler = handler};
  return (int)syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask);
}

#define sigfillset set_fill
#define sigaddset set_add
#define sigdelset set_remove
#define sigismember set_has
#define sigprocmask change_mask
#define sigaction(number, new, old) ask_action(number, new, old)
#define signal(number, handler) set_action(number, handler)

#endif
