// SPDX-License-Identifier: LGPL-2.1-or-later
// Trials of what the kernel lets this process do. Each is made in a child, and vanishes with it.
#pragma once

#include "common/result.h"

namespace ssi {

Status try_fuse_device();  // /dev/fuse is there and opens
Status try_fuse_mount();   // a FUSE file system mounts in a fresh user namespace
Status try_namespaces();   // all that a guest has; without root a /proc as well, which containers forbid
Status try_network();      // a bridge and a veth pair

}  // namespace ssi
