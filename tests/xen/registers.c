// SPDX-License-Identifier: LGPL-2.1-or-later
// registers SEED SECONDS: holds a pattern in SSE registers for a while and looks whether it is still there; run in two
// guests that share a processor, it shows a fault of the emulation. Exit status 1: registers have changed.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char** argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
  time_t end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 5);
  unsigned long rounds = 0, wrong = 0;
  for (; time(NULL) < end; rounds++) {
    uint64_t in[2] = {seed * 0x9e3779b97f4a7c15ull + rounds, ~seed ^ rounds}, out[2][2], count = 300000;
    __asm__ volatile(
        "movdqu (%1), %%xmm3\n movdqa %%xmm3, %%xmm12\n"
        "1: dec %0\n jnz 1b\n"
        "movdqu %%xmm3, (%2)\n movdqu %%xmm12, 16(%2)\n"
        : "+r"(count)
        : "r"(in), "r"(out)
        : "memory", "cc", "xmm3", "xmm12");
    wrong += memcmp(out[0], in, 16) || memcmp(out[1], in, 16);
  }
  printf("%lu rounds, %lu wrong\n", rounds, wrong);
  return wrong || !rounds;
}
