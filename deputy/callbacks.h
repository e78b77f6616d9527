// SPDX-License-Identifier: LGPL-2.1-or-later
// Where guests that dial out reach this home: takes their connections and tells them apart by the rendezvous that
// each was told to write first. That proves nothing: the session that follows pins the guest's key.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "common/fd.h"
#include "common/listener.h"
#include "common/loop.h"
#include "common/result.h"

namespace ssi {

class Callbacks {
 public:
  // Source: bind(2) on "HOST:PORT", numeric.
  static Result<std::unique_ptr<Callbacks>> listen(Loop& loop, const std::string& address);

  // `connected` gets the first connection that names the rendezvous which this returns.
  std::string expect(std::function<void(Fd)> connected);
  void cancel(const std::string& rendezvous) { expected_.erase(rendezvous); }

 private:
  struct Stranger {
    Fd socket;
    std::string said;
    std::unique_ptr<Poll> poll;
    std::unique_ptr<Timer> patience;
  };
  Callbacks(Loop& loop, Fd listener);
  void accept_all();
  void hear(std::list<Stranger>::iterator stranger);

  Loop& loop_;
  Listener listener_;
  Poll poll_;
  std::map<std::string, std::function<void(Fd)>> expected_;
  std::list<Stranger> strangers_;
};

}  // namespace ssi
