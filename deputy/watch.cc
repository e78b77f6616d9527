// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/watch.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>
#include <utility>

#include "common/log.h"
#include "deputy/file_id.h"

namespace ssi {
namespace {

// IN_CLOSE_WRITE: whoever wrote by a mapping is heard of then. IN_ATTRIB also tells of links.
constexpr std::uint32_t events = IN_ATTRIB | IN_MODIFY | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE |
                                 IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;

constexpr std::uint64_t kept_ms = 2'000;  // what was marked since is not crowded out

std::uint64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

// A quarter of what the user may have; each one costs the kernel about 1 KiB.
std::size_t share_of_watches() {
  std::size_t all = 8192;
  std::ifstream("/proc/sys/fs/inotify/max_user_watches") >> all;
  return std::min<std::size_t>(all / 4, 32768);
}

}  // namespace

Watch::Watch(Loop& loop, std::size_t most, std::function<void()> ready)
    : loop_(loop), most_(most ? most : share_of_watches()), ready_(std::move(ready)) {}

std::vector<std::uint64_t> Watch::crowded_out() {
  std::vector<std::uint64_t> out;
  if (!std::exchange(crowded_, false)) return out;
  const auto limit = now_ms() - kept_ms;
  for (auto at = recent_.rbegin(); at != recent_.rend() && out.size() <= most_ / 16; ++at) {
    const auto& watched = watched_.at(*at);
    if (!watched.open && watched.when < limit) out.push_back(*at);
  }
  for (const auto node : out) drop(node);
  return out;
}

bool Watch::touch(std::uint64_t node) {
  const auto known = watched_.find(node);
  if (known == watched_.end()) return false;
  known->second.when = now_ms();
  recent_.splice(recent_.begin(), recent_, known->second.place);
  return true;
}

Watch::Heard Watch::listen(std::uint64_t node, int fd) {
  if (touch(node)) return Heard::before;
  if (watched_.size() >= most_) {
    crowded_ = true;
    return Heard::no;
  }
  if (!fd_) {
    fd_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!fd_) return refused("fs.inotify.max_user_instances, or its own descriptors,");
    poll_ = std::make_unique<Poll>(loop_, fd_.get(), [this](int) { ready_(); });
    poll_->want(UV_READABLE);
  }
  const int number = ::inotify_add_watch(fd_.get(), ProcPath(fd).c_str(), events);
  if (number < 0) return refused("fs.inotify.max_user_watches");
  // The file had another node before, which the guest has forgotten.
  if (const auto former = nodes_.find(number); former != nodes_.end()) forget(watched_.find(former->second));
  recent_.push_front(node);
  watched_[node] = {number, now_ms(), false, recent_.begin()};
  nodes_[number] = node;
  return Heard::from_now;
}

// By errno. That a file may not be read is not worth a word; a limit slows down every job.
Watch::Heard Watch::refused(const char* limit) {
  if ((errno == EMFILE || errno == ENOSPC) && said_.is_due())
    log::warning(
        "no more of home's files can be watched, so guests ask for them again and again: {} are used up",
        limit);
  return Heard::no;
}

void Watch::keep(std::uint64_t node, bool open) {
  const auto found = watched_.find(node);
  if (found == watched_.end()) return;
  found->second.open = open;
  found->second.when = now_ms();
}

void Watch::forget(std::unordered_map<std::uint64_t, Watched>::iterator watched) {
  nodes_.erase(watched->second.number);
  recent_.erase(watched->second.place);
  watched_.erase(watched);
}

void Watch::drop(std::uint64_t node) {
  const auto found = watched_.find(node);
  if (found == watched_.end()) return;
  ::inotify_rm_watch(fd_.get(), found->second.number);
  forget(found);
}

void Watch::take_event(int number, std::uint32_t mask, std::string_view name,
                       const std::function<void(const News&)>& take) {
  const auto node = nodes_.find(number);
  if (node == nodes_.end()) return;  // dropped meanwhile
  const auto watched = watched_.find(node->second);
  if (mask & IN_IGNORED) {
    lost_.push_back(node->second);
    return forget(watched);
  }
  take({node->second, name, mask});
}

bool Watch::drain(const std::function<void(const News&)>& take) {
  alignas(inotify_event) char buffer[32768];
  bool all = true;
  // What is there now, and no more: something may happen all the time.
  int left = 0;
  if (!fd_ || ::ioctl(fd_.get(), FIONREAD, &left) != 0) return all;
  while (left > 0) {
    const auto got = ::read(fd_.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    left -= static_cast<int>(got);
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      const char* name = buffer + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (event.mask & IN_Q_OVERFLOW)
        all = false;
      else
        take_event(event.wd, event.mask, {name, ::strnlen(name, event.len)}, take);
    }
  }
  return all;
}

void Watch::pause(bool yes) {
  if (poll_) poll_->want(yes ? 0 : UV_READABLE);
}

Fd Watch::end() {
  poll_.reset();
  watched_.clear();
  nodes_.clear();
  recent_.clear();
  return std::move(fd_);
}

}  // namespace ssi
