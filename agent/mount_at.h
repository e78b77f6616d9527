// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/result.h"

namespace ssi {

// mount(2) of a new file system at a directory of the view. Linux 6.16 and later take a FUSE name that two look up for the first
// time at once for stale, and nothing can be mounted on what they got (ENOENT; fuse_dentry_revalidate reads the epoch of an entry
// that fuse_lookup has published and not yet stamped): then it is looked up again.
Status mount_at(const char* what, const std::string& where, const char* type, unsigned long flags, const std::string& options);

}  // namespace ssi
