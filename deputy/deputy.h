// SPDX-License-Identifier: LGPL-2.1-or-later
// What the user's jobs share and what outlives them: sessions with guests, links to schedulers, slots at home.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "common/config.h"
#include "common/identity.h"
#include "common/listener.h"
#include "common/load.h"
#include "common/loop.h"
#include "deputy/callbacks.h"
#include "deputy/context.h"
#include "deputy/effects.h"
#include "deputy/export_policy.h"
#include "deputy/fence.h"
#include "deputy/guest_link.h"
#include "deputy/history.h"
#include "deputy/home_slots.h"
#include "deputy/input_claims.h"
#include "deputy/job.h"
#include "deputy/schedulers.h"
#include "deputy/watchdog.h"

namespace ssi {

class Deputy {
 public:
  static constexpr std::uint64_t idle_ms = 10 * 60 * 1000;

  // `listener` is the bound socket of callers; the deputy stops the loop after idle_ms without a job.
  static Result<std::unique_ptr<Deputy>> start(Loop& loop, Fd listener, Watchdog watchdog);

  ~Deputy();

  // What the jobs ask of it.
  Result<Config> config(const std::string& user_file);  // "": the usual file
  Result<Schedulers*> schedulers(const Config& config, const std::string& from_environment);
  // Its session lasts without a connection for at least `grace_ms`.
  std::shared_ptr<GuestLink> guest(const wire::Placed& placed, Schedulers& schedulers, std::uint64_t grace_ms);
  // Where guests that dial out reach us; empty: nowhere, or none could lately. Listens from the first question on.
  std::string callback_address(const Config& config);
  void describe_home(wire::Place& question);  // processors, speed and load of this machine
  void log_end(const wire::Placed& placed, const std::string& command, const wire::Exited& exited) const;
  void forget(Job& job);            // destroys it
  Job* find(std::uint64_t number);  // that runs in a guest; null: none of it
  const Context& context() const { return context_; }
  const Identity& identity() const { return identity_; }
  const ExportPolicy& policy() const { return policy_; }
  HomeSlots& slots() { return slots_; }
  InputClaims& inputs() { return inputs_; }
  Effects& effects() { return effects_; }
  // Guests that have failed a job which then ran elsewhere: not for the next minutes.
  void set_aside(const std::string& guest);
  std::vector<std::string> set_aside();
  History& history() { return history_; }
  double home_speed() const { return home_speed_; }  // of one processor, 0: not known yet

 private:
  Deputy(Loop& loop, Fd listener, Watchdog watchdog, Identity identity, Context context, ExportPolicy policy,
         const std::string& state);
  void fence(const Fence::Target& target);
  void await_guest(GuestLink& link, std::uint64_t job, Schedulers& schedulers);
  void accept_callers();
  void watch_idle();
  void measure_home();

  Loop& loop_;
  Listener listener_;
  Watchdog watchdog_;
  const Identity identity_;
  const Context context_;
  History history_;
  HomeSlots slots_;
  InputClaims inputs_;
  Effects effects_;
  ExportPolicy policy_;
  Load load_{0};
  double home_speed_ = 0;
  std::map<std::string, std::unique_ptr<Schedulers>> schedulers_;  // by addresses and keys
  std::map<std::pair<std::string, std::uint64_t>, std::shared_ptr<GuestLink>> guests_;  // by key and epoch
  std::list<std::unique_ptr<Fence>> fences_;
  std::unique_ptr<Callbacks> callbacks_;
  HomeAddress called_at_;                                  // where callbacks_ listens, and how guests name it
  std::uint64_t listen_again_ = 0, not_called_until_ = 0;  // loop time, ms
  std::list<std::unique_ptr<Job>> jobs_;
  Poll poll_;
  Timer idle_;
  std::map<std::string, std::uint64_t> set_aside_;  // guests, until that loop time, ms
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
