// SPDX-License-Identifier: LGPL-2.1-or-later
// Where content stores (agent/content_store.h) lie: in a directory of root's, one for each of the last homes. It outlives sessions and
// the agent, not the guest's boot: what a crash leaves on a disk nobody has looked at.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

class StoreRoom {
 public:
  static constexpr std::size_t most_homes = 4;

  // `directory` is made when it is not there. `bytes`: for all homes together; 0: half of its file system, 1 GiB at most.
  StoreRoom(std::string directory, std::uint64_t bytes) : path_(std::move(directory)), bytes_(bytes) {}

  struct Store {
    Fd directory;             // holds its lock: ours alone as long as anybody has this descriptor
    std::uint64_t limit = 0;  // bytes
  };
  // The one of the home with this key, for a process of user `owner`. EBUSY: another session has it. When there are more than
  // `most_homes`, the one that was used longest ago is removed; ENOSPC: all are in use.
  Result<Store> open(const std::string& home_key, uid_t owner);

 private:
  struct Other {
    std::string name;
    std::int64_t when = 0;  // it was used, ns since the epoch
  };
  Status prepare();
  std::vector<Other> others(const std::string& name) const;  // the one used longest ago first
  bool remove(const std::string& name) const;                // false: it is in use

  std::string path_;
  std::uint64_t bytes_;
  Fd directory_;
};

}  // namespace ssi
