// SPDX-License-Identifier: LGPL-2.1-or-later
// What an agent is told at its start: by the command line, and by a TOML file.
#pragma once

#include <string>

#include "common/result.h"

namespace ssi {

struct AgentOptions {
  std::string name;           // that the guest would like to have in the pool
  std::string scheduler;      // HOST:PORT
  std::string scheduler_key;  // Ed25519 public key, 32 bytes
  std::string listen;         // HOST:PORT for sessions; empty: dials_out
  bool dials_out = false;     // homes cannot connect here: we connect to those that ask for it
  std::string key_file;
  std::string token;  // of enrolment; empty: none
  std::string uuid;   // of our Xen domain; empty: none
  // Not given but found out: we are root of a user namespace that lacks ids, not of the machine. A home gets one id.
  bool squash_ids = false;
};

// Reads `file` into `options`. Keys: name, scheduler, scheduler_key, listen, dial = "out", key, token.
Status load_agent_config(const std::string& file, AgentOptions& options);

// What is still missing, one line.
Status check_complete(const AgentOptions& options);

}  // namespace ssi
