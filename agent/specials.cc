// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/specials.h"

#include <utility>

#include "agent/task_call.h"

namespace ssi {
namespace {

// A task that was preempted on its way to sleep; a job whose first word has not been read yet.
constexpr std::uint64_t again_ms = 2;
constexpr int max_tries = 500;

// Caches and helpers of the name service: libc asks them first, in every program, and does without.
bool can_be_missed(const std::string& directory, const std::string& name) {
  return (directory == "nscd" && name == "socket") ||
         (directory == "userdb" && name.starts_with("io.systemd."));
}

}  // namespace

Specials::Specials(std::shared_ptr<HomeLink> home) : home_(std::move(home)), timer_(home_->loop()) {}

void Specials::made(std::uint64_t node, pid_t task) {
  made_[node] = init_of(task);
}

void Specials::met(Met met) {
  const auto& tasks = home_->tasks();
  const auto init = tasks.call_of ? init_of(met.request->task()) : 0;
  const auto made = made_.find(met.node);
  if (init == 0 || can_be_missed(met.directory, met.name) || (made != made_.end() && made->second == init))
    return met.then(true);
  look(std::move(met), init, max_tries);
}

void Specials::look(Met met, pid_t init, int tries) {
  const auto task = met.request->task();
  home_->tasks().call_of(task,
                         [this, alive = alive_, met = std::move(met), init, tries](const std::string& text) {
                           if (!*alive) return;
                           if (!met.request->get()) return met.then(false);
                           const auto call = ssi::call_of(text);
                           if (call == Call::unsure && tries > 0)
                             return again([this, met, init, tries] { look(met, init, tries - 1); });
                           if (call != (S_ISFIFO(met.mode) ? Call::opens : Call::connects))
                             return met.then(true);
                           send_home(met, init, tries);
                         });
}

void Specials::send_home(Met met, pid_t init, int tries) {
  if (!met.request->get()) return met.then(false);
  const auto what = (S_ISFIFO(met.mode) ? "opens the FIFO " : "connects to the socket ") + met.name;
  if (!home_->tasks().needs_home(init, what) && tries > 0)
    return again([this, met = std::move(met), init, tries] { send_home(met, init, tries - 1); });
  std::erase_if(parked_, [](const RequestPtr& request) { return !request->get(); });
  parked_.push_back(met.request);
  met.then(false);
}

void Specials::again(std::function<void()> f) {
  again_.push_back(std::move(f));
  if (again_.size() > 1) return;
  timer_.once(again_ms, [this] {
    for (const auto& next : std::exchange(again_, {})) next();
  });
}

}  // namespace ssi
