/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The compiled allow-list as the shim reads it: common/allow_table.h. */
#ifndef SSI_SHIM_ALLOW_H
#define SSI_SHIM_ALLOW_H

/* ssirun's absolute path when commands of this basename are to be diverted; else NULL. */
const char* allow_lookup(const char* basename, char* const environment[]);

#endif
