// SPDX-License-Identifier: LGPL-2.1-or-later
// One job as the history sees it: which command it is, what is foretold of it, how it began and ended. It outlives the
// Job when that has gone home.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/wire.h"
#include "deputy/caller.h"
#include "deputy/history.h"

namespace ssi {

class JobRecord {
 public:
  explicit JobRecord(History& history) : history_(history) {}

  void identify(const RunRequest& request, std::string user, std::string home);
  void under(const Rule& rule);
  const std::optional<Prediction>& prediction() const { return prediction_; }

  // What it is expected to ask for; null: nothing is known. And what it has asked for, of which its arguments' files are left out.
  std::shared_ptr<const Profile> profile() const { return history_.profile(job_.key); }
  void asked_for(const Profile& profile);

  // Why the job is not worth a guest; "": it is, or nobody knows. `home_speed` as in wire::Report, 0: not known.
  std::string too_short(double min_seconds, double home_speed) const;

  // What it met in a guest lately that only home has; "": nothing.
  std::string needed_home() const;
  void needs_home(const std::string& what);  // it has met that now

  void began_in(const wire::Placed& place);
  void began_at_home(const std::string& reason);

  // The first of these counts; none does before it began.
  void exited(const wire::Exited& how, std::uint64_t bytes_in, std::uint64_t bytes_out);
  void ended_at_home(double home_speed);  // how it ended is not known
  void failed();                          // ssirun exits with 125
  void abandoned();                       // nobody waits for it in its guest any more

 private:
  void began(std::uint64_t id, const std::string& guest, const std::string& reason);
  void ended(JobEnded job);

  History& history_;
  JobBegan job_;
  std::string exact_key_;  // of these very arguments in this directory
  std::vector<std::string> arguments_;
  std::string cwd_;
  std::optional<Prediction> prediction_;
  double speed_ = 0;  // of the guest
  std::uint64_t row_ = 0;
  bool is_over_ = false;
};

}  // namespace ssi
