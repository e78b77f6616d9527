// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <stddef.h>
#include <stdint.h>

// FNV-1a.
static inline uint64_t sum_of(const char* bytes, size_t size) {
  uint64_t sum = 0xcbf29ce484222325ULL;
  for (size_t i = 0; i < size; ++i) sum = (sum ^ (unsigned char)bytes[i]) * 0x100000001b3ULL;
  return sum;
}
