// SPDX-License-Identifier: LGPL-2.1-or-later
// Tells a guest that a session is over: one that was given up for lost may only have been out of reach, and still run its jobs.
// None of their requests is served any more; this ends them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/connection.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

class Fence {
 public:
  struct Target {
    std::string address;   // of a guest that listens
    wire::Bytes guest_key, session;
  };

  // Tries until the guest has heard it, or for `patience_ms`; then `over` is called (deferred).
  Fence(Loop& loop, const Identity& self, Target target, std::uint64_t patience_ms, std::function<void()> over);
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

 private:
  void attempt();

  Loop& loop_;
  const Identity& self_;
  const Target target_;
  const std::uint64_t until_;  // loop time, ms
  std::function<void()> over_;
  std::unique_ptr<Connection> connection_;
  std::string word_;  // what is left of it to be written
  bool said_ = false;
  Timer retry_;
};

}  // namespace ssi
