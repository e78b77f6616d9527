// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/view.h"

#include <algorithm>
#include <utility>

#include "agent/home_link.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

// Who waits for the kernel to have taken a notice goes on after so long: the notice waits for somebody, perhaps for him.
constexpr std::uint64_t patience_ms = 1000;

}  // namespace

View::View(Loop& loop, Session& session)
    : loop_(loop), home_(std::make_shared<HomeLink>(loop, session)), patience_(loop) {
  home_->tell_by([this](std::function<void()> f) { when_told(std::move(f)); });
}

View::~View() {
  *alive_ = false;
  home_->tell_by({});
  lost(EIO);
}

void View::squash(const Ids& ids) {
  home_->squash(ids);
}

void View::belongs_to(std::uint32_t uid, std::uint32_t gid) {
  home_->belongs_to(uid, gid);
}

void View::foresee(const wire::Foreseen& foreseen) {
  const auto any = [this](const auto& what) {
    return std::any_of(superblocks_.begin(), superblocks_.end(), [&](const auto& each) { return each->foresee(what); });
  };
  for (const auto& name : foreseen.names)
    if (!any(name) && name.entry.node != 0) home_->give_back(wire::Forgotten{name.entry.node, 1});
  for (const auto& range : foreseen.ranges) any(range);
}

void View::watch(Tasks tasks) {
  home_->watch(std::move(tasks));
}

void View::keep_content_in(std::shared_ptr<ContentStore> store) {
  home_->keep_content_in(std::move(store));
}

Status View::add(const wire::Mount& mount, Fd fuse) {
  auto made = Superblock::open(home_, mount, std::move(fuse));
  if (!made) return tl::make_unexpected(made.error());
  superblocks_.push_back(std::move(*made));
  return {};
}

void View::give_back(const wire::Foreseen& foreseen) {
  for (const auto& name : foreseen.names)
    if (name.entry.node != 0) home_->give_back(wire::Forgotten{name.entry.node, 1});
}

void View::rest() {
  for (const auto& superblock : superblocks_) superblock->end_foreseen();
}

void View::lend(std::uint64_t job, const std::vector<wire::Lent>& files) {
  home_->lend(job, files);
}

void View::started(std::uint64_t job) {
  home_->end_lent(job);
  home_->tell_opened();
}

void View::when_done(std::uint64_t job, std::function<void()> f) {
  for (const auto& superblock : superblocks_) superblock->made().end_leases(job);
  home_->acknowledged().when_done_for(job, [this, alive = alive_, job, f = std::move(f)] {
    if (!*alive) return;
    for (const auto& superblock : superblocks_) superblock->end_job(job);
    f();
  });
}

void View::revoke(std::uint64_t directory, std::function<void()> f) {
  for (const auto& superblock : superblocks_) superblock->made().revoke(directory);
  home_->tell_opened();  // somebody else may be about to remove it
  home_->acknowledged().when_done_for(0, [alive = alive_, f = std::move(f)] {
    if (*alive) f();
  });
}

void View::begin_use(std::uint64_t job, const std::string& temporary) {
  home_->begin_use(job, temporary);
}

void View::tell_use(std::uint64_t job, wire::Exited& how) const {
  const auto use = home_->use_of(job);
  how.asked = use.asked;
  how.known = use.known;
  how.waited_us = use.waited_ns / 1000;
  home_->tell_found(job);
}

void View::forget_use(std::uint64_t job) {
  for (const auto& superblock : superblocks_) {
    superblock->made().end_leases(job);
    superblock->end_job(job);
  }
  home_->forget_use(job);
}

void View::catch_up() {
  for (const auto& superblock : superblocks_) superblock->catch_up();
  home_->tell_opened();
}

void View::invalidate(const wire::Invalidate& changed) {
  ++taken_;
  // What we hold ourselves is forgotten at once, whatever the kernel is still to be told before.
  Parts parts;
  for (const auto& superblock : superblocks_) {
    auto part = superblock->forget_cached(changed);
    if (!part.nodes.empty() || !part.names.empty()) parts.emplace_back(superblock, std::move(part));
  }
  notices_.push_back(std::move(parts));
  if (!notifying_) notify_next();
}

void View::when_told(std::function<void()> f) {
  if (told()) return f();
  waiting_.push_back({taken_, uv_now(loop_.uv()) + patience_ms, std::move(f)});
  if (waiting_.size() == 1) patience_.once(patience_ms, [this] { release(); });
}

void View::release() {
  const auto alive = alive_;
  const auto now = uv_now(loop_.uv());
  while (*alive && !waiting_.empty() && (waiting_.front().notice <= told_ || waiting_.front().due <= now)) {
    const auto f = std::move(waiting_.front().f);
    waiting_.pop_front();
    f();
  }
  if (!*alive) return;
  if (waiting_.empty())
    patience_.stop();
  else
    patience_.once(std::max<std::uint64_t>(waiting_.front().due, now + 1) - now, [this] { release(); });
}

// The kernel is told on a thread of the pool, one notice after the other: it may have to wait there for a
// lock whose holder waits for an answer of ours. The notice keeps its superblocks, so that they go on
// answering until it is through, even when the view is gone.
void View::notify_next() {
  notifying_ = !notices_.empty();
  if (!notifying_) return;
  auto parts = std::move(notices_.front());
  notices_.pop_front();
  loop_.queue_work(
      [parts = std::move(parts)] {
        for (const auto& [superblock, part] : parts) superblock->tell_kernel(part);
      },
      [this, alive = alive_] {
        if (!*alive) return;
        ++told_;
        release();
        if (*alive) notify_next();
      });
}

void View::lost(int error) {
  home_->lose(error);
  for (const auto& superblock : superblocks_) superblock->lost();
}

}  // namespace ssi
