// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_slots.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace ssi {
namespace {

constexpr std::uint64_t shown_ms = 1'000;  // roughly as for what a guest was promised (scheduler/registry.h)

pid_t parent_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const auto name_end = stat.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  return static_cast<pid_t>(std::atoi(stat.c_str() + name_end + 4));
}

// Two stages of a pipeline: what one writes the other reads.
bool feeds(const HomeSlots::Candidate& from, const HomeSlots::Candidate& to) {
  return to.stdio[0] != 0 && (from.stdio[1] == to.stdio[0] || from.stdio[2] == to.stdio[0]);
}

}  // namespace

std::array<ino_t, 3> HomeSlots::pipes(const std::array<int, 3>& stdio) {
  std::array<ino_t, 3> inodes{};
  for (std::size_t i = 0; i < stdio.size(); ++i) {
    struct stat status;
    if (stdio[i] >= 0 && ::fstat(stdio[i], &status) == 0 &&
        (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
      inodes[i] = status.st_ino;
  }
  return inodes;
}

std::size_t HomeSlots::unshown() const {
  const auto now = uv_now(loop_.uv());
  const auto is_fresh = [now](const Holder& holder) { return now - holder.since < shown_ms; };
  return waiting_.size() + static_cast<std::size_t>(std::ranges::count_if(holders_, is_fresh));
}

bool HomeSlots::must_not_wait(const Candidate& who) const {
  const auto holds = [&](auto&& test) { return std::any_of(holders_.begin(), holders_.end(), test); };
  if (holds([&](const Holder& holder) { return feeds(holder.who, who) || feeds(who, holder.who); }))
    return true;
  pid_t pid = who.pid;
  for (int depth = 0; pid > 1 && depth < 256; ++depth, pid = parent_of(pid))
    if (holds([&](const Holder& holder) { return holder.who.pid == pid; })) return true;
  return false;
}

void HomeSlots::take(const Candidate& who, std::function<void()> go, std::function<void()> ended) {
  if (!would_wait(who)) {
    hold(who, std::move(ended));
    next();  // a stage that waited for this one
    return go();
  }
  waiting_.push_back({who, std::move(go), std::move(ended), std::make_unique<Timer>(loop_)});
  const auto waiter = std::prev(waiting_.end());
  waiter->patience->once(patience_, [this, waiter] {
    auto late = std::move(*waiter);
    waiting_.erase(waiter);
    hold(late.who, std::move(late.ended));
    late.go();
  });
}

void HomeSlots::hold(const Candidate& who, std::function<void()> ended) {
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, who.pid, 0)));
  if (!process) return loop_.defer(std::move(ended));  // it has ended already
  holders_.push_back({who, std::move(ended), uv_now(loop_.uv()), std::move(process), nullptr});
  const auto holder = std::prev(holders_.end());
  holder->poll = std::make_unique<Poll>(loop_, holder->process.get(), [this, holder](int) {
    const auto its_end = std::move(holder->ended);
    holders_.erase(holder);
    its_end();
    next();
  });
  holder->poll->want(UV_READABLE);
}

void HomeSlots::next() {
  for (auto waiter = waiting_.begin(); waiter != waiting_.end();) {
    if (would_wait(waiter->who)) {
      ++waiter;
      continue;
    }
    auto ready = std::move(*waiter);
    waiting_.erase(waiter);
    hold(ready.who, std::move(ready.ended));
    ready.go();
    waiter = waiting_.begin();  // `go` may have changed the list
  }
}

}  // namespace ssi
