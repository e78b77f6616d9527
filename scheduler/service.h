// SPDX-License-Identifier: LGPL-2.1-or-later
// The scheduler's conversation: who says what is checked here, then given to the registry and to placement.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>

#include "common/control_socket.h"
#include "common/identity.h"
#include "common/loop.h"
#include "scheduler/admission.h"
#include "scheduler/allowance.h"
#include "scheduler/enrolment.h"
#include "scheduler/registry.h"

namespace ssi {

class Service {
 public:
  static Result<std::unique_ptr<Service>> start(Loop& loop, const std::string& address, Identity self,
                                                Admission admission, Tokens tokens);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

 private:
  struct Waiting {
    ControlServer::Peer peer;
    wire::Place place;
    std::string user;          // as admitted
    std::int64_t since = 0;    // ms
    std::uint32_t before = 0;  // how many wait before it, as it was told
  };

  Service(Loop& loop, const std::string& address, Identity self, Admission admission, Tokens tokens);
  static std::int64_t now();  // ms; does not jump

  void take(const ControlServer::Peer& peer, wire::Control&& message);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Report& report);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Place& place);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::JobEnded& ended);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::StatusRequest& request);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Callback& callback);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::GuestsRequest& request);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Admit& admit);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::TokenRequest& request);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::JobsRequest& request);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Drain& drain);
  void on(const ControlServer::Peer& peer, const Member& member, const wire::Holding& holding);
  template <class Other>
  void on(const ControlServer::Peer& peer, const Member& member, const Other&);

  void refuse(const ControlServer::Peer& peer, const std::string& name, std::uint64_t request,
              std::string reason);
  bool is_admin(const ControlServer::Peer& peer, const Member& member, std::uint64_t request);
  void turn_away(const ControlServer::Peer& peer, const wire::Control& message);
  // False: it waits on. `machines`: the registry's, kept true.
  bool answer(const Waiting& asked, bool is_first, std::vector<Machine>& machines);
  wire::Placed admit_job(const Waiting& asked, const Decision& decision);
  void retry_waiting();
  void tell_queue();
  bool is_young() const;

  Identity self_;
  Admission admission_;
  Enrolment enrolment_;
  Allowance strangers_{20, 50};  // handshakes of unknown keys: a second, and at once
  Registry registry_;
  std::deque<Waiting> waiting_;       // first come, first served: by `since`
  std::set<std::string> complained_;  // refusals that were logged: a guest repeats its mistake twice a second
  const std::int64_t born_ = now();  // ms
  bool was_young_ = true;
  Timer sweep_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace ssi
