// SPDX-License-Identifier: LGPL-2.1-or-later
// A job's terminal, as the home process sees it: the master, whose bytes the job's streams carry.
#pragma once

#include <functional>

#include "common/fd.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

class GuestTerminal {
 public:
  // `changed` hears of modes that the job has set, soon after it did.
  GuestTerminal(Loop& loop, Fd master, bool background, std::function<void(const wire::Modes&)> changed);

  void
  begin();  // the job runs: its leader's group has the foreground, or the init's until it is given to the leader's
  void look();  // whether the modes have changed: before output of the job is passed on, and now and then
  int master() const { return master_.get(); }
  void resize(const wire::WindowSize& window);

  // As if the key for it had been pressed.
  void press(int signal);

 private:
  Fd master_;
  Timer timer_;
  std::function<void(const wire::Modes&)> changed_;
  wire::Modes shown_;
  const bool background_;
  pid_t first_group_ = 0, leaders_group_ = 0;
};

}  // namespace ssi
