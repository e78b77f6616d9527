// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/view.h"

#include <utility>

#include "agent/home_link.h"
#include "agent/superblock.h"

namespace ssi {

View::View(Loop& loop, Session& session) : loop_(loop), home_(std::make_shared<HomeLink>(loop, session)) {}

View::~View() {
  *alive_ = false;
  lost(EIO);
}

void View::squash(const Ids& ids) {
  home_->squash(ids);
}

void View::watch(Tasks tasks) {
  home_->watch(std::move(tasks));
}

Status View::add(std::uint32_t fs, std::uint64_t root_node, const std::string& path, Fd fuse) {
  auto made = Superblock::open(home_, fs, root_node, path, std::move(fuse));
  if (!made) return tl::make_unexpected(made.error());
  superblocks_.push_back(std::move(*made));
  return {};
}

void View::catch_up() {
  for (const auto& superblock : superblocks_) superblock->catch_up();
}

void View::invalidate(const wire::Invalidate& changed, std::function<void()> done) {
  notices_.push_back({changed, std::move(done)});
  if (!notifying_) notify_next();
}

// The kernel is told on a thread of the pool, one notice after the other: it may have to wait there for a
// lock whose holder waits for an answer of ours. The notice keeps its superblocks, so that they go on
// answering until it is through, even when the view is gone.
void View::notify_next() {
  notifying_ = !notices_.empty();
  if (!notifying_) return;
  auto notice = std::move(notices_.front());
  notices_.pop_front();
  std::vector<std::pair<std::shared_ptr<Superblock>, wire::Invalidate>> parts;
  for (const auto& superblock : superblocks_) {
    auto part = superblock->forget_cached(notice.changed);
    if (!part.nodes.empty() || !part.names.empty()) parts.emplace_back(superblock, std::move(part));
  }
  loop_.queue_work(
      [parts = std::move(parts)] {
        for (const auto& [superblock, part] : parts) superblock->tell_kernel(part);
      },
      [this, alive = alive_, done = std::move(notice.done)] {
        if (!*alive) return;
        if (done) done();
        if (*alive) notify_next();
      });
}

void View::lost(int error) {
  home_->lose(error);
  for (const auto& superblock : superblocks_) superblock->lost();
}

}  // namespace ssi
