// SPDX-License-Identifier: LGPL-2.1-or-later
// Attributes as the wire has them and as FUSE wants them.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <optional>

#include "common/user_namespace.h"
#include "common/wire.h"

namespace ssi {

// `squashed`: the only ids that there are here. All files are shown as theirs: the kernel refuses every write to a file
// whose owner it cannot name, also where home allows it. (Home judges rights by the real owner.)
struct stat to_stat(const wire::Attr& attr, const std::optional<Ids>& squashed = {});
struct statvfs to_statvfs(const wire::Space& space);

// The `fields` and values of a Setattr, from FUSE's FUSE_SET_ATTR_* bits and its struct stat.
void set_fields(wire::Setattr& request, const struct stat& attr, int to_set);

}  // namespace ssi
