/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System calls without libc: no errno, no cancellation, no symbol that a preloaded library could have
 * replaced. A negative result is -errno. Only calls that all architectures have (the …at family). */
#ifndef SSI_COMMON_RAW_SYSCALL_H
#define SSI_COMMON_RAW_SYSCALL_H

#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long raw6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
static inline long raw6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#else
#error "ssi knows x86-64 and aarch64"
#endif

static inline long raw4(long number, long a, long b, long c, long d) {
  return raw6(number, a, b, c, d, 0, 0);
}

#endif
