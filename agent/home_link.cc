// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/home_link.h"

#include <utility>

namespace ssi {
namespace {
constexpr std::size_t batch = 256;  // nodes of one Forget or Visited, names of one Found; decoders take at most 1024

// A file that is read from the guest's own memory is open for less.
constexpr std::uint64_t told_after_ms = 20;

}  // namespace

void HomeLink::lose(int error) {
  session_ = nullptr;
  error_ = error;
  forgotten_.clear();
  opened_.clear();
  visited_.clear();
  held_ = nullptr;
  telling_.stop();
  holding_.stop();
}

void HomeLink::used(std::uint64_t job, bool asked, std::uint64_t waited_ns) {
  const auto use = uses_.find(job);
  if (use == uses_.end()) return;  // of no job, or one that is over
  ++(asked ? use->second.asked : use->second.known);
  use->second.waited_ns += waited_ns;
}

FileUse HomeLink::use_of(std::uint64_t job) const {
  const auto found = uses_.find(job);
  return found == uses_.end() ? FileUse{} : found->second;
}

void HomeLink::found(std::uint64_t job, wire::Name name) {
  if (!uses_.contains(job)) return;
  auto& names = found_[job];
  names.push_back(std::move(name));
  if (names.size() >= batch) tell_found(job);
}

void HomeLink::tell_found(std::uint64_t job) {
  const auto found = found_.find(job);
  if (found == found_.end() || found->second.empty()) return;
  if (session_) session_->post(wire::Found{job, std::exchange(found->second, {})});
}

void HomeLink::give_back(const wire::Forgotten& node) {
  if (!session_) return;
  forgotten_.push_back(node);
  if (forgotten_.size() >= batch) return flush();
  if (forgotten_.size() > 1) return;
  loop_.defer([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->flush();
  });
}

void HomeLink::flush() {
  if (!session_ || forgotten_.empty()) return;
  session_->post(wire::Forget{std::exchange(forgotten_, {})});
}

void HomeLink::opened(const wire::Opened& file) {
  if (!session_) return;
  opened_.emplace(file.handle, file);
  tell_opened_soon();
}

void HomeLink::hold_back(std::function<void()> send) {
  send_held();
  held_ = std::move(send);
  holding_.once(held_ms, [this] { send_held(); });
}

void HomeLink::send_held() {
  if (!held_) return;
  holding_.stop();
  std::exchange(held_, nullptr)();
}

void HomeLink::forget_held() {
  holding_.stop();
  held_ = nullptr;
}

bool HomeLink::has_open(std::uint64_t node) const {
  return std::ranges::any_of(opened_, [node](const auto& one) { return one.second.node == node; });
}

void HomeLink::release(std::uint64_t handle, Session::Lane lane) {
  if (!session_ || handle == 0) return;
  const auto untold = opened_.find(handle);
  if (untold == opened_.end()) return session_->post(wire::Release{handle}, {}, lane);
  if (handle & wire::homes_handles) {  // home has it open
    tell_files();
    return session_->post(wire::Release{handle}, {}, lane);
  }
  visited_.push_back(untold->second.node);
  opened_.erase(untold);
  tell_opened_soon();
}

void HomeLink::tell_opened_soon() {
  const auto waiting = opened_.size() + visited_.size();
  if (waiting >= batch) return tell_opened();
  if (waiting == 1) telling_.once(told_after_ms, [this] { tell_opened(); });
}

void HomeLink::tell_opened() {
  send_held();
  tell_files();
}

void HomeLink::tell_files() {
  if (opened_.empty() && visited_.empty()) return;
  telling_.stop();
  if (!visited_.empty()) session_->post(wire::Visited{std::exchange(visited_, {})});
  for (const auto& [handle, file] : std::exchange(opened_, {})) session_->post(file);
}

}  // namespace ssi
