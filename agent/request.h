// SPDX-License-Identifier: LGPL-2.1-or-later
// One FUSE request that waits for its answer. Answered exactly once: dropped unanswered, it answers EIO.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "agent/fuse.h"
#include "common/wire.h"

namespace ssi {

class Superblock;

class Request {
 public:
  Request(std::shared_ptr<Superblock> superblock, fuse_req_t request);
  ~Request() { error(EIO); }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // `reply` is one of libfuse's fuse_reply_*. False when it was answered before, or when the kernel no longer
  // wants the answer: then what the answer would have given away (a node, a handle) must be given back.
  template <class Reply, class... Args>
  bool answer(Reply reply, Args... args) {
    const auto request = take();
    return request && reply(request, args...) == 0;
  }
  void error(int error) { answer(fuse_reply_err, error); }

  // While it waits: lets the superblock watch the asking task, so that it can be killed. May answer at once.
  void wait();

  // `f` is called at the first signal that its task gets, also when that came already. The answer stays due.
  void when_interrupted(std::function<void()> f);
  void interrupt();

  fuse_req_t get() const { return request_; }  // nullptr once answered
  wire::Caller caller() const { return caller_; }
  std::uint32_t umask() const { return umask_; }
  pid_t task() const { return task_; }
  std::uint64_t asked() const { return asked_; }

 private:
  fuse_req_t take();

  std::shared_ptr<Superblock> superblock_;  // let go with the answer
  fuse_req_t request_;
  wire::Caller caller_;
  std::uint32_t umask_;
  pid_t task_;
  std::uint64_t asked_;  // ns
  std::function<void()> on_signal_;
};

using RequestPtr = std::shared_ptr<Request>;

// How many seconds the kernel may still use what home said in the answer to a request of `asked`. Counted
// from the request, not from the answer, so that it ends no later than the cache_ms that the deputy counts
// on.
double fresh_for(std::uint64_t asked);
double fresh_for(std::uint64_t asked, const wire::Attr& attr);  // 0 when home would not hear of its change

}  // namespace ssi
