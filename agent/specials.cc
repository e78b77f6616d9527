// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/specials.h"

#include <utility>

#include "agent/task_call.h"

namespace ssi {
namespace {

// Caches and helpers of the name service: libc asks them first, in every program, and does without.
bool can_be_missed(const std::string& directory, const std::string& name) {
  return (directory == "nscd" && name == "socket") ||
         (directory == "userdb" && name.starts_with("io.systemd."));
}

}  // namespace

Specials::Specials(std::shared_ptr<HomeLink> home, Recalls& recalls)
    : home_(std::move(home)), recalls_(recalls) {}

void Specials::made(std::uint64_t node, pid_t task) {
  made_[node] = init_of(task);
}

void Specials::met(Met met) {
  const auto& tasks = home_->tasks();
  const auto init = tasks.call_of ? init_of(met.request->task()) : 0;
  const auto made = made_.find(met.node);
  if (init == 0 || can_be_missed(met.directory, met.name) || (made != made_.end() && made->second == init))
    return met.then(true);
  look(std::move(met), init, Recalls::max_tries);
}

void Specials::look(Met met, pid_t init, int tries) {
  const auto task = met.request->task();
  home_->tasks().call_of(
      task, [this, alive = alive_, met = std::move(met), init, tries](const std::string& text) {
        if (!*alive) return;
        if (!met.request->get()) return met.then(false);
        const auto call = ssi::call_of(text);
        if (call == Call::unsure && tries > 0)
          return recalls_.again([this, met, init, tries] { look(met, init, tries - 1); });
        if (call != (S_ISFIFO(met.mode) ? Call::opens : Call::connects)) return met.then(true);
        recalls_.call_home(met.request,
                           (S_ISFIFO(met.mode) ? "opens the FIFO " : "connects to the socket ") + met.name +
                               ", which only home can serve",
                           ENXIO, Recalls::Left::call_too);
        met.then(false);
      });
}

}  // namespace ssi
