// SPDX-License-Identifier: LGPL-2.1-or-later
// A cgroup (version 2) for each pool guest, so that the agent has a tree of its own for jobs, and nothing of
// that is left at home when the guest has gone. Where the kernel has no cgroup2, guests go without.
#pragma once

#include <string>

#include "common/result.h"

namespace ssi {

// Inside the guest's mount namespace: moves this process into cgroup `name`, makes that the root of what it
// can see of cgroups, and mounts it at `where`. When this cannot be had nothing is mounted there.
void enter_cgroup(const std::string& name, const std::string& where);

// Kills what is left in cgroup `name` and removes it with all cgroups below. Gone already: no error.
Status remove_cgroup(const std::string& name);

bool has_cgroup2();

}  // namespace ssi
