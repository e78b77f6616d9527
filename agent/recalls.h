// SPDX-License-Identifier: LGPL-2.1-or-later
// Jobs that meet what only home has. The task that asked gets no answer, so that it does nothing more; home hears of it,
// kills the job, and runs it there if nothing was done yet.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/home_link.h"
#include "agent/request.h"
#include "common/loop.h"

namespace ssi {

class Recalls {
 public:
  explicit Recalls(std::shared_ptr<HomeLink> home);
  ~Recalls() { *alive_ = false; }

  enum class Left {
    call_too,
    leave
  };  // of a job that somebody still waits for no more: those that outlived their leader

  // The job of the request's task goes home, since it `what` ("opens the FIFO p"). When that cannot be (the task belongs
  // to no job, or to such a rest of one as is left alone), the request is answered `error`.
  void call_home(const RequestPtr& request, const std::string& what, int error, Left left);

  // Once more in a moment: a task that was preempted on its way to sleep; a job whose first word has not been read yet.
  static constexpr int max_tries = 500;
  void again(std::function<void()> f);

 private:
  void try_call(const RequestPtr& request, pid_t init, const std::string& what, int error, Left left,
                int tries);

  std::shared_ptr<HomeLink> home_;
  std::vector<RequestPtr> parked_;  // that get no answer
  Timer timer_;
  std::vector<std::function<void()>> again_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
