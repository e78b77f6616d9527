// SPDX-License-Identifier: LGPL-2.1-or-later
// What an agent is told at its start: by the command line, and by a TOML file.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

struct AgentOptions {
  std::string name;                         // that the guest would like to have in the pool
  std::vector<std::string> schedulers;      // HOST:PORT; it reports to all, and takes the tickets of all
  std::vector<std::string> scheduler_keys;  // Ed25519 public keys, 32 bytes: one for all, or one for each
  std::string listen;                       // HOST:PORT for sessions; empty: dials_out
  bool dials_out = false;                   // homes cannot connect here: we connect to those that ask for it
  std::string key_file;
  std::string token;          // of enrolment; empty: none
  std::string uuid;           // of our Xen domain; empty: none
  std::string cache = "/var/cache/ssi";  // where homes' content is kept from one session to the next
  double cache_mib = 0;                  // for all homes together; 0: half of that file system, 1 GiB at most
  double drain_seconds = 10;  // that jobs have to end after SIGTERM
  // Not given but found out: we are root of a user namespace that lacks ids, not of the machine. A home gets one id.
  bool squash_ids = false;
};

// The list in an argument or a value: keys as 64 hexadecimal digits, with commas between them.
Result<std::vector<std::string>> parse_keys(const std::string& text);

// Reads `file` into `options`. Keys: name, scheduler, scheduler_key, listen, dial = "out", key, token, cache, cache_mib, drain_seconds.
Status load_agent_config(const std::string& file, AgentOptions& options);

// What is still missing, one line.
Status check_complete(const AgentOptions& options);

}  // namespace ssi
