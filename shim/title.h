/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SSI_SHIM_TITLE_H
#define SSI_SHIM_TITLE_H

/* Makes ps, pidof and pgrep show a diverted command as what it was called: `command`, the tail of ssirun's
 * own argv, moves to its front. The rest of `argv` is gone afterwards. */
void take_title(char** argv, char** command, const char* path);

#endif
