// SPDX-License-Identifier: LGPL-2.1-or-later
// Callers inside `ssi shell --deep` and `--trace`: what makes them differ from the deputy is then our own doing.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

#include "deputy/context.h"

namespace ssi {

// Takes out of `caller` what differs from `deputy` only because of such a shell. Empty, or a reason for home that says
// more than the comparison of the two could.
std::string excuse(const Context& deputy, Context& caller, pid_t pid);

// Whether two mount tables (proc_pid_mountinfo(5)) show the same files at the same places, but for ssirun over some
// programs of `theirs` and the tree below it: empty, or the place where they differ. Nothing when `theirs` is not a deep
// shell's.
struct MountDifference {
  bool is_deep = false;
  std::string place;
};
// `tree`: where that tree has to be; anybody may mount one that is called so elsewhere, over what the deputy sees there.
MountDifference compare_mounts(std::string_view ours, std::string_view theirs, const std::string& tree,
                               const std::function<bool(const std::string& place)>& is_ssirun);

}  // namespace ssi
