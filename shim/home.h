/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command at home, untouched. */
#ifndef SSI_SHIM_HOME_H
#define SSI_SHIM_HOME_H

/* Becomes the command. Returns only when that failed, with ssirun's exit status; the line was said. */
int exec_at_home(const char* path, char* const argv[]);

/* The exit status for a command that cannot be executed for `error`; says the line. */
int cannot_execute(const char* name, int error);

#endif
