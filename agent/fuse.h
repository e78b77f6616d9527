// SPDX-License-Identifier: LGPL-2.1-or-later
// libfuse's low-level API, at one version.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
