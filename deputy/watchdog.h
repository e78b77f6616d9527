// SPDX-License-Identifier: LGPL-2.1-or-later
// A process that ends the sessions of a deputy which was killed. Without it a guest could not tell that from a link that was
// cut, and would run the jobs of nobody until the grace is over.
#pragma once

#include "common/fd.h"
#include "common/identity.h"
#include "common/result.h"
#include "deputy/fence.h"

namespace ssi {

class Watchdog {
 public:
  // Forks: before any thread, and with nothing open that must be closed with the deputy but these.
  static Result<Watchdog> start();

  void session_begun(const Fence::Target& target);
  void session_over(const wire::Bytes& session);

 private:
  explicit Watchdog(Fd to) : to_(std::move(to)) {}
  Fd to_;  // its end of file is our death
};

}  // namespace ssi
