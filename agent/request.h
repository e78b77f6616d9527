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
  void asks_home() { asked_home_ = true; }  // for the count

  // `f` is called at the first signal that its task gets, also when that came already. The answer stays due.
  void when_interrupted(std::function<void()> f);
  void interrupt();

  fuse_req_t get() const { return request_; }  // nullptr once answered
  wire::Caller caller() const { return caller_; }
  std::uint32_t umask() const { return umask_; }
  pid_t task() const { return task_; }

 private:
  fuse_req_t take();

  std::shared_ptr<Superblock> superblock_;  // let go with the answer
  fuse_req_t request_;
  wire::Caller caller_;
  std::uint32_t umask_;
  pid_t task_;
  std::uint64_t began_;  // ns
  bool waits_ = false, asked_home_ = false;
  std::function<void()> on_signal_;
};

using RequestPtr = std::shared_ptr<Request>;

// How many seconds the kernel may use what home said: until it is told otherwise, or not at all when home would not hear of a
// change.
inline constexpr double for_ever = 1e9;
inline double lease_of(const wire::Attr& attr) { return attr.brief ? 0 : for_ever; }

}  // namespace ssi
