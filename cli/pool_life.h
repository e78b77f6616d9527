// SPDX-License-Identifier: LGPL-2.1-or-later
// The embedded pool: a scheduler and guests on this machine, one pool per state directory.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cli/pool_record.h"
#include "common/fd.h"
#include "common/identity.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

class Pool {
 public:
  using Say = std::function<void(const std::string& line)>;
  using Wanted = std::function<Status()>;  // an error: give up (Ctrl-C)

  // Waits for another `ssi pool` command on the same pool to end. `say` gets progress, line by line.
  static Result<Pool> open(Say say);

  // What there is: empty when no pool is up. What a dead one has left behind is cleaned away first.
  Result<std::optional<PoolRecord>> standing();

  // `listen`: HOST:PORT where the scheduler is to be reached, by other machines too; empty: this machine's own. When it
  // fails everything is taken down again, and the error may have several lines.
  Status up(int guests, const std::string& listen, const Wanted& wanted);

  // Ends all, removes all, and looks that nothing is left.
  Status down(const PoolRecord& record);

  // Without root: guests have this user's ids only, and home's network.
  bool is_rootless() const { return rootless_; }

  std::string log_file(const std::string& name) const { return dir_ + "/" + name + ".log"; }

 private:
  struct Programs {
    std::string scheduler, agent;
    std::vector<std::string> libraries;  // of the agent
  };

  Status save() { return save_record(dir_ + "/pool.json", record_); }
  Result<std::string> fresh_address(const std::string& host, int first_port);
  Result<std::string> guest_listens(int number);
  Result<Fd> fresh_log(const std::string& name) const;
  Result<std::string> scheduler_listens(const std::string& listen);
  Status bring_up(int guests, const std::string& listen, const Wanted& wanted);
  Status start_scheduler(const Programs& programs, const std::string& listen);
  Status start_guest(const Programs& programs, int number);
  Status wait_for_guests(const Wanted& wanted);
  Result<bool> all_up(const wire::StatusReply& reply);
  Status check_alive() const;
  Status publish();
  void unpublish(const PoolRecord& record);
  std::string tail_of_logs() const;

  Say say_;
  std::string dir_;
  Fd lock_;
  bool rootless_ = false;
  PoolRecord record_;
  std::vector<Fd> ports_;          // held until all daemons have theirs
  std::vector<std::string> seen_;  // guests that were said to be up
};

}  // namespace ssi
