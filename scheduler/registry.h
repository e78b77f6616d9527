// SPDX-License-Identifier: LGPL-2.1-or-later
// What the scheduler knows: which guests are up, in which life (epoch), and what has been promised there that
// their reports do not yet show. Soft state: all of it comes back with the next reports. Pure; times are
// passed in, in ms of any clock that does not jump.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/wire.h"
#include "scheduler/placement.h"

namespace ssi {

class Registry {
 public:
  using Time = std::int64_t;  // ms

  static constexpr Time gone_ms = 3'000;       // silent for so long: gone
  static constexpr Time forget_ms = 60'000;    // and for so long: no longer in status()
  static constexpr Time shown_ms = 1'000;      // listed for so long: the report's `busy` holds the job
  static constexpr Time unlisted_ms = 35'000;  // never listed: its ticket has expired, it was not started

  // Both numbers must lie above those of the scheduler's last life; no other scheduler may give the same jobs' numbers.
  Registry(std::uint64_t first_epoch, std::uint64_t first_job)
      : next_job_(first_job), first_epoch_(first_epoch) {}

  struct Taken {
    std::uint64_t epoch = 0;
    bool came_up = false;              // it was not known, or gone, or is in a new life
    std::optional<wire::Drain> order;  // it does not follow it yet: tell it again
  };
  // Takes in a report, its values clamped; `route`: the connection that it came over. An error is one line: why the
  // report does not count.
  Result<Taken> take(const wire::Report& report, const std::string& route, Time now);

  void forget(const std::string& guest);  // it was revoked

  // An administrator's word; to drain counts at once, to resume when the guest reports it. Kept until the reports say the
  // same, or the guest begins a new life. Returns the guest's connection; an error: it is not up.
  Result<std::string> drain(const wire::Drain& order);

  // All guests that are not forgotten, the gone ones too (see Machine::silent), in order of name.
  std::vector<Machine> machines(Time now) const;
  std::vector<wire::GuestStatus> status(Time now) const;

  // What runs on the guests that are not gone, as their last reports say; at most `max_jobs`.
  static constexpr std::size_t max_jobs = 1'000;  // a message's list holds 1024
  std::vector<wire::JobStatus> jobs(Time now) const;

  struct Promise {
    std::uint64_t job = 0, epoch = 0;
    std::string address, guest_key;
    bool dials_out = false;
    double speed = 0;
  };
  // Reserves processors for a job of `home_key` on a guest that is up. cpus 0: all.
  Promise promise(const std::string& guest, const std::string& home_key, std::uint32_t cpus,
                  std::uint64_t memory, Time now);

  // The same for jobs that another scheduler, or another life of this one, has promised there to a home; for a guest that
  // has not reported yet, until it does. Their guests must be admitted ones.
  void hold(const std::vector<wire::HeldJob>& jobs, const std::string& home_key, Time now);

  // The connection of the guest where this job of `home_key` is promised; empty: there is none.
  std::string route_of(std::uint64_t job, const std::string& home_key) const;

  // The job's reservation is over. False when it is not known, or belongs to another home.
  bool end(std::uint64_t job, const std::string& home_key);

  // Names of guests that went silent since the last call. Call it a few times a second, before reports are
  // taken: when the last call is long ago, it was us who slept (a suspended laptop, SIGSTOP), and no guest is
  // blamed for it; nor when we could not hear since then.
  std::vector<std::string> sweep(Time now, bool was_deaf = false);

 private:
  // Two homes may have jobs of one number, placed by two schedulers; and none speaks for another's.
  using Whose = std::pair<std::uint64_t, std::string>;  // the job's number, its home's key
  struct Reserved {
    std::uint32_t cpus = 0;  // as asked
    std::uint64_t memory = 0;
    Time promised = 0;  // or told by its home
    std::optional<Time> listed;  // first seen in a report
  };
  struct Guest {
    wire::Report report;
    std::uint64_t epoch = 0;
    std::string route;
    std::vector<std::uint64_t> earlier_boots;
    std::vector<std::string> earlier_routes;  // of this boot
    Time heard = 0;
    bool gone = false;
    std::optional<wire::Drain> order;  // that its reports do not show yet
    bool draining() const { return report.draining != 0 || (order && order->resume == 0); }
    std::map<Whose, Reserved> reserved;
  };

  static constexpr std::size_t max_reserved = 4'096;  // of one guest
  static void settle(Guest& guest, Time now);

  std::map<std::string, Guest> guests_;
  std::map<std::string, std::map<Whose, Reserved>> early_;  // of guests to come, by key
  std::map<std::string, std::uint64_t> fenced_;  // by key: the next epoch of guests that were forgotten
  std::uint64_t next_job_;
  const std::uint64_t first_epoch_;
  std::optional<Time> swept_;
};

}  // namespace ssi
