/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What marks a mount namespace that `ssi shell --deep` has made. Plain C: ssirun, ssi and ssi-deputy share it. */
#ifndef SSI_COMMON_DEEP_MOUNT_H
#define SSI_COMMON_DEEP_MOUNT_H

#define DEEP_SOURCE "ssi-deep" /* what a tmpfs calls its source; it is mounted in the state directory */
#define DEEP_TREE "/home"      /* in it: all of home's files, read-only, without ssirun over any of them */
#define DEEP_RUNTIME \
  "/run" /* in it: a link to the runtime directory, for callers that have lost their environment */

#endif
