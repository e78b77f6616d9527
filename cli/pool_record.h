// SPDX-License-Identifier: LGPL-2.1-or-later
// What `ssi pool up` has made, written down as it is made, so that `ssi pool down` finds all of it, also
// after a crash.
#pragma once

#include <string>
#include <vector>

#include "cli/pool_network.h"
#include "cli/pool_process.h"
#include "common/result.h"

namespace ssi {

struct PoolRecord {
  std::string boot;     // boot id of the kernel: pids and devices of another one mean nothing
  std::string program;  // of the scheduler
  PoolNetwork network;
  std::string address;  // of the scheduler, HOST:PORT
  std::string key;      // of the scheduler, as text
  ProcessId scheduler;
  std::vector<ProcessId> guests;  // guest1, guest2, …
  int planned = 0;                // guests wanted; so many devices may exist
  bool complete = false;          // `up` has ended well
};

std::string to_json(const PoolRecord& record);
Result<PoolRecord> parse_record(const std::string& text);

// The file is replaced as a whole (rename).
Status save_record(const std::string& file, const PoolRecord& record);
// An error with code ENOENT when there is none. A record of an earlier boot is none.
Result<PoolRecord> load_record(const std::string& file);


}  // namespace ssi
