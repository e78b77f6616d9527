// SPDX-License-Identifier: LGPL-2.1-or-later
// Where things lie: see design.md, "Files". Directories are made (0700) and checked: a directory that belongs to
// another user, or that others may write, is an error that says so.
#pragma once

#include <string>

#include "common/result.h"

namespace ssi::paths {

Result<std::string> runtime_dir();  // $XDG_RUNTIME_DIR/ssi, or /tmp/ssi-UID
Result<std::string> state_dir();    // $XDG_STATE_HOME/ssi, or ~/.local/state/ssi
std::string user_config();  // $SSI_CONFIG, or $XDG_CONFIG_HOME/ssi/config.toml, or ~/.config/ssi/config.toml
inline constexpr const char* system_config = "/etc/ssi/config.toml";
inline constexpr const char* allow_folder = "/etc/ssi/allow.d";

// The file that `ssi pool up` leaves for everybody on this machine: where the scheduler is and its public key.
inline constexpr const char* pool_file = "/run/ssi/pool.toml";

std::string home_dir();  // of the effective user, from the password database when HOME is not set

// The full path of a sibling program or library ("ssi-agent", "libssi-shim.so", "guest/build"): beside this one, in the build tree's
// folders, or where `meson install` puts it. Source: /proc/self/exe.
Result<std::string> sibling(const std::string& name);

Status make_private_dir(const std::string& path);

}  // namespace ssi::paths
