// SPDX-License-Identifier: LGPL-2.1-or-later
// How guests come to be admitted: by a token that they show, or by an administrator; and how that is taken back.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/control_socket.h"
#include "common/wire.h"
#include "scheduler/admission.h"
#include "scheduler/allowance.h"
#include "scheduler/applicants.h"
#include "scheduler/tokens.h"

namespace ssi {

class Enrolment {
 public:
  Enrolment(Admission& admission, Tokens tokens) : admission_(admission), tokens_(std::move(tokens)) {}

  // Answers a guest that asks to be taken in; `now`: ms that do not jump, here and below.
  wire::Joined join(const ControlServer::Peer& peer, const wire::Join& join, std::int64_t now);

  // Notes that reports of an admitted guest over this connection do not count, and why.
  void note_refused(const Member& guest, const ControlServer::Peer& peer, const std::string& reason,
                    std::int64_t now);

  struct Approved {
    std::string name;
    std::string route;  // of the guest's connection: it waits for this
  };
  Result<Approved> approve(const std::string& who);
  Result<Member> revoke(const std::string& who) { return admission_.revoke_guest(who); }
  Result<std::string> make_token(std::uint32_t seconds);

  // All guests: those that report (`heard`), the other admitted ones, the revoked, and the applicants.
  std::vector<wire::GuestEntry> entries(const std::vector<wire::GuestStatus>& heard, std::int64_t now);

  void sweep(std::int64_t now) { applicants_.sweep(now); }

 private:
  wire::Joined judge(const wire::Join& join, const std::string& curve_key);
  void note(Applicant applicant, std::int64_t now);

  Admission& admission_;
  Tokens tokens_;
  Applicants applicants_;
  Allowance lines_{1, 60};  // of the log, for what strangers do
};

// Neighbours may be one version older or newer. Else: why not, one line.
Status check_version(std::uint32_t version);

}  // namespace ssi
