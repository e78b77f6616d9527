/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shim/reinject.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/allow.h"
#include "shim/divert.h"
#include "shim/text.h"

static char variable[512]; /* empty: not to be added */

/* $LIB and the like stay as they are: the next program may be of another kind. */
void reinject_remember(char* const environment[]) {
  const char* entry = text_variable(environment, "LD_PRELOAD");
  while (entry && *entry) {
    size_t length = 0, name = 0, used = 0;
    for (; entry[length] && entry[length] != ':' && entry[length] != ' '; length++)
      if (entry[length] == '/') name = length + 1;
    if (text_begins(entry + name, "libssi-shim.so") && length - name == sizeof "libssi-shim.so" - 1) {
      if (!text_append(variable, sizeof variable, &used, "LD_PRELOAD=", sizeof "LD_PRELOAD=" - 1) ||
          !text_append(variable, sizeof variable, &used, entry, length))
        variable[0] = 0;
      return;
    }
    entry += length + (entry[length] != 0);
  }
}

/* They lead to other roots, users and machines, where our file may not be, and clean the environment on purpose. */
static bool leads_elsewhere(const char* file) {
  static const char names[][8] = {"bwrap", "flatpak", "snap", "chroot", "unshare", "docker", "ssh", "sudo"};
  const char* name = text_basename(file);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (text_equal(names[i], name)) return true;
  return false;
}

const char* reinject_variable(const struct allow_header* table, const char* file, char* const envp[]) {
  if (!variable[0] || !(uintptr_t)file || !(uintptr_t)envp || !envp[0] || text_variable(envp, "LD_PRELOAD")) return NULL;
  return allow_reinjects(table) && !leads_elsewhere(file) && !is_disabled(envp) ? variable : NULL;
}
