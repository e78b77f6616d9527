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

static inline bool text_begins(const char* text, const char* start) {
  while (*start && *text == *start) text++, start++;
  return !*start;
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

/* Appends a number in decimal to the string in `buffer`. False: no room. */
static inline bool text_append_number(char* buffer, size_t size, unsigned number) {
  char digits[10];
  size_t first = sizeof digits, used = text_length(buffer);
  do digits[--first] = (char)('0' + number % 10);
  while (number /= 10);
  return text_append(buffer, size, &used, digits + first, sizeof digits - first);
}

/* How many words a list has; most + 1 when there are more than `most`. */
static inline size_t text_count(char* const words[], size_t most) {
  size_t count = 0;
  while (count <= most && words[count]) count++;
  return count;
}

/* The value of a variable in an environment (which may be NULL), or NULL. */
static inline const char* text_variable(char* const environment[], const char* name) {
  for (; environment && *environment; environment++) {
    const char* at = *environment;
    if (*at != *name) continue; /* nearly always */
    const char* wanted = name;
    while (*wanted && *at == *wanted) at++, wanted++;
    if (!*wanted && *at == '=') return at + 1;
  }
  return NULL;
}

#endif
