// SPDX-License-Identifier: LGPL-2.1-or-later
// For a guest that homes cannot connect to: connects to those that ask for it through the scheduler.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>

#include "common/fd.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

class Dialler {
 public:
  // `connected` gets each connection, its rendezvous written: the home now goes on as if it had connected here. `session`: of
  // ours, which it resumes; empty: it begins one.
  Dialler(Loop& loop, std::function<void(Fd, const wire::Bytes& session)> connected)
      : loop_(loop), connected_(std::move(connected)) {}

  void dial(const wire::Dial& to);

 private:
  struct Call {
    Fd socket;
    std::string address, rendezvous, session;
    std::unique_ptr<Poll> poll;
    std::unique_ptr<Timer> patience;
  };
  void finish(std::list<Call>::iterator call);
  void drop(std::list<Call>::iterator call, const std::string& why);

  Loop& loop_;
  std::function<void(Fd, const wire::Bytes& session)> connected_;
  std::list<Call> calls_;
};

}  // namespace ssi
