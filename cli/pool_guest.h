// SPDX-License-Identifier: LGPL-2.1-or-later
// The inside of a pool guest: a root that holds the agent and nothing of home's. An ordinary user can neither make devices
// nor mount a sysfs of home's network: home's /dev/null and the like, and /sys/devices/system, are bound.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/pool_network.h"
#include "cli/pool_process.h"
#include "common/fd.h"
#include "common/result.h"
#include "common/user_namespace.h"

namespace ssi {

struct GuestPlan {
  int number = 0;  // K of "guestK"
  PoolNetwork network;
  std::string program;                 // ssi-agent at home
  std::vector<std::string> libraries;  // at home; each is copied to the same path
  std::string key_file;                // at home; becomes /etc/ssi/agent.key
  std::string mount_point;  // an empty directory of home's; only the guest sees what is mounted on it
  std::string cgroup;       // name of its cgroup; empty: none
  std::optional<Ids> only;  // an ordinary user's: all that the guest has, as its root
  std::vector<std::string> arguments;  // of the agent
  std::vector<std::string> environment;
  Fd log;

  std::string name() const { return "guest" + std::to_string(number); }
};

// The shared libraries that a program needs, with the dynamic linker. Source: ldd(1).
Result<std::vector<std::string>> libraries_of(const std::string& program);
// The paths in what ldd prints.
std::vector<std::string> paths_in_ldd(const std::string& text);

// The namespaces that enter_guest wants to be the first process of: root's, an ordinary user's.
extern const std::uint64_t guest_namespaces, rootless_namespaces;

// Whether a pool that is made here is one without root: also root of a user namespace that lacks ids has no more.
bool is_rootless_here();

// Runs as the guest's first process. Makes the guest's root, moves into it, and becomes the agent. Returns
// what went wrong.
Status enter_guest(const GuestPlan& plan);

}  // namespace ssi
