// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/request.h"

#include <uv.h>

#include "agent/superblock.h"
#include "agent/task_groups.h"

namespace ssi {

Request::Request(std::shared_ptr<Superblock> superblock, fuse_req_t request)
    : superblock_(std::move(superblock)), request_(request), began_(uv_hrtime()) {
  const auto* context = fuse_req_ctx(request);
  caller_ = {context->uid, context->gid};
  umask_ = context->umask;
  task_ = context->pid;
  if (const auto& job_of = superblock_->home().tasks().job_of) caller_.job = job_of(task_);
  if (superblock_->home().is_another(caller_.uid)) add_groups(caller_, task_);
  superblock_->waiting_.insert(this);
}

fuse_req_t Request::take() {
  if (!request_) return nullptr;
  superblock_->waiting_.erase(this);
  superblock_->interrupted_.erase(this);
  on_signal_ = nullptr;
  superblock_->home().used(caller_.job, asked_home_, waits_ ? uv_hrtime() - began_ : 0);
  superblock_.reset();
  return std::exchange(request_, nullptr);
}

void Request::wait() {
  if (!request_) return;
  waits_ = true;
  const auto interrupt = [](fuse_req_t, void* self) { static_cast<Request*>(self)->interrupt(); };
  // Not left to fuse_req_interrupt_func: it would touch the request's lock after our answer had freed it.
  if (fuse_req_interrupted(request_)) return interrupt(request_, this);
  fuse_req_interrupt_func(request_, interrupt, this);
}

void Request::interrupt() {
  if (on_signal_) std::exchange(on_signal_, nullptr)();
  if (superblock_) superblock_->interrupted(*this);
}

void Request::when_interrupted(std::function<void()> f) {
  if (!request_) return;
  if (fuse_req_interrupted(request_)) return f();
  on_signal_ = std::move(f);
}

}  // namespace ssi
