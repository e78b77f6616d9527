// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_slots.h"

#include <sys/syscall.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace ssi {
namespace {

pid_t parent_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const auto name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  return static_cast<pid_t>(std::atoi(stat.c_str() + name_end + 4));
}

}  // namespace

bool HomeSlots::below_holder(pid_t pid) const {
  for (int depth = 0; pid > 1 && depth < 256; ++depth, pid = parent_of(pid))
    if (std::any_of(holders_.begin(), holders_.end(),
                    [&](const Holder& holder) { return holder.pid == pid; }))
      return true;
  return false;
}

void HomeSlots::take(pid_t pid, std::function<void()> go) {
  if (below_holder(pid)) return go();
  if (holders_.size() >= slots_) {
    waiting_.push_back({pid, std::move(go)});
    return;
  }
  hold(pid);
  go();
}

void HomeSlots::hold(pid_t pid) {
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return;  // it has ended already
  holders_.push_back({pid, std::move(process), nullptr});
  const auto holder = std::prev(holders_.end());
  holder->poll = std::make_unique<Poll>(loop_, holder->process.get(), [this, holder](int) {
    holders_.erase(holder);
    next();
  });
  holder->poll->want(UV_READABLE);
}

void HomeSlots::next() {
  while (!waiting_.empty() && holders_.size() < slots_) {
    const auto waiter = std::move(waiting_.front());
    waiting_.pop_front();
    hold(waiter.pid);
    waiter.go();
  }
}

}  // namespace ssi
