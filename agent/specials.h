// SPDX-License-Identifier: LGPL-2.1-or-later
// FIFOs and Unix sockets in the view. Processes meet there inside one kernel: what a job made itself, it can use here
// among its own processes; any other means somebody at home. The kernel never tells a FUSE server of their being opened
// or connected to, but asks for their names each time when told not to remember these: then we look what the task is
// about to do.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "agent/home_link.h"
#include "agent/recalls.h"
#include "agent/request.h"

namespace ssi {

class Specials {
 public:
  Specials(std::shared_ptr<HomeLink> home, Recalls& recalls);
  static bool is(std::uint32_t mode) { return S_ISFIFO(mode) || S_ISSOCK(mode); }

  void made(std::uint64_t node, pid_t task);  // it was made here, by this task's job
  void forget(std::uint64_t node) { made_.erase(node); }

  // A path led to one. Calls `then(true)` for it to be answered, unless its task would wait for somebody at home: then its job goes home, and the
  // request gets no answer until the task is killed.
  struct Met {
    RequestPtr request;
    std::uint64_t node;
    std::uint32_t mode;
    std::string directory, name;  // last components of its path
    std::function<void(bool goes_on)> then;
  };
  void met(Met met);

 private:
  void look(Met met, pid_t init, int tries);

  std::shared_ptr<HomeLink> home_;
  Recalls& recalls_;
  std::unordered_map<std::uint64_t, pid_t> made_;  // node: first process of the job
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~Specials() { *alive_ = false; }
};

}  // namespace ssi
