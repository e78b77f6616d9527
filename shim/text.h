/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few string functions that the shim needs: it links no libc. */
#ifndef SSI_SHIM_TEXT_H
#define SSI_SHIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>

static inline size_t text_length(const char* text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

static inline bool text_equal(const char* a, const char* b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static inline const char* text_basename(const char* path) {
  const char* name = path;
  for (; *path; path++)
    if (*path == '/') name = path + 1;
  return name;
}

static inline bool text_has(const char* text, char wanted) {
  for (; *text; text++)
    if (*text == wanted) return true;
  return false;
}

/* Appends at *used, keeping room for a NUL. False: no room. */
static inline bool text_append(char* buffer, size_t size, size_t* used, const char* text, size_t length) {
  if (length >= size - *used) return false;
  for (size_t i = 0; i < length; i++) buffer[(*used)++] = text[i];
  buffer[*used] = 0;
  return true;
}

/* The value of a variable in an environment (which may be NULL), or NULL. */
static inline const char* text_variable(char* const environment[], const char* name) {
  for (; environment && *environment; environment++) {
    const char* at = *environment;
    const char* wanted = name;
    while (*wanted && *at == *wanted) at++, wanted++;
    if (!*wanted && *at == '=') return at + 1;
  }
  return NULL;
}

#endif
