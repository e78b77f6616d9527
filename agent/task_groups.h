// SPDX-License-Identifier: LGPL-2.1-or-later
// The supplementary groups of a task in its own user namespace: FUSE tells of uid and gid only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/wire.h"

namespace ssi {

// From /proc/PID/status and /proc/PID/gid_map. Without a value: not to be understood, or a group has no name there.
std::optional<std::vector<std::uint32_t>> groups_of(std::string_view status, std::string_view gid_map);

// Adds them to what home is told of the caller, if they can be had.
void add_groups(wire::Caller& caller, pid_t task);

}  // namespace ssi
