// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/recalls.h"

#include <utility>

#include "agent/task_call.h"

namespace ssi {
namespace {

constexpr std::uint64_t again_ms = 2;

}  // namespace

Recalls::Recalls(std::shared_ptr<HomeLink> home) : home_(std::move(home)), timer_(home_->loop()) {}

void Recalls::call_home(const RequestPtr& request, const std::string& what, int error, Left left) {
  const auto init = home_->tasks().needs_home ? init_of(request->task()) : 0;
  if (init == 0) return request->error(error);
  try_call(request, init, what, error, left, max_tries);
}

void Recalls::try_call(const RequestPtr& request, pid_t init, const std::string& what, int error, Left left,
                       int tries) {
  if (!request->get()) return;  // its task is dying
  const auto heard = home_->tasks().needs_home(init, what, left == Left::call_too);
  if (heard == Tasks::Heard::not_yet && tries > 0)
    return again([this, request, init, what, error, left, tries] {
      try_call(request, init, what, error, left, tries - 1);
    });
  if (heard != Tasks::Heard::yes) return request->error(error);
  std::erase_if(parked_, [](const RequestPtr& parked) { return !parked->get(); });
  parked_.push_back(request);
}

void Recalls::again(std::function<void()> f) {
  again_.push_back(std::move(f));
  if (again_.size() > 1) return;
  timer_.once(again_ms, [this, alive = alive_] {
    for (const auto& next : std::exchange(again_, {})) {
      if (!*alive) return;
      next();
    }
  });
}

}  // namespace ssi
