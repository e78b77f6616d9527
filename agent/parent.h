// SPDX-License-Identifier: LGPL-2.1-or-later
// The agent's root parent: accepts connections and forks an unprivileged process for each, makes user namespaces, reaps.
// It parses nothing that comes from the network, so it is small and uses no library but libc.
#pragma once

#include <string>

#include "common/fd.h"
#include "common/identity.h"
#include "common/result.h"

namespace ssi {

struct AgentOptions {
  std::string name;           // guest's name in the pool
  std::string scheduler;      // HOST:PORT
  std::string scheduler_key;  // Ed25519 public key, 32 bytes
  std::string listen;         // HOST:PORT for sessions
  std::string key_file;
};

// Runs until SIGTERM or SIGINT. Everything it forked ends with it.
Status run_parent(const AgentOptions& options, const Identity& self, Fd listener);

// An account without rights for the processes that parse what comes from the network. Call once, in the child.
Status give_up_privileges();

}  // namespace ssi
