// SPDX-License-Identifier: LGPL-2.1-or-later
// The libuv loop of a process and its handles as owned C++ objects. Each process has one Loop, owned by its main and
// passed by reference. A handle may be destroyed inside its own callback; its uv memory lives until uv's close
// callback has run.
#pragma once

#include <uv.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/result.h"

namespace ssi {

class Loop {
 public:
  Loop();
  ~Loop();  // closes what is left open; runs the close callbacks
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();  // until stop(), or until nothing is left to wait for
  void stop();
  uv_loop_t* uv() { return &loop_; }

  // Runs `f` on the loop, after the current callback has returned. Not from another thread.
  void defer(std::function<void()> f);

  // Runs `work` on libuv's thread pool, then `done` on the loop. Both own what they need, by value.
  void queue_work(std::function<void()> work, std::function<void()> done);

 private:
  uv_loop_t loop_;
  uv_idle_t awake_;
  uv_check_t after_poll_;
  std::vector<std::function<void()>> deferred_;
};

// Calls back when a descriptor is readable or writable. The descriptor must outlive the Poll, which leaves its flags as
// they are: who reads it from the callback must not block.
class Poll {
 public:
  using Ready = std::function<void(int events)>;  // UV_READABLE, UV_WRITABLE, or both; an error shows as both
  Poll(Loop& loop, int fd, Ready ready);
  ~Poll();
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;
  void want(int events);  // UV_READABLE | UV_WRITABLE; 0 pauses

 private:
  struct Handle;
  Handle* handle_;
};

class Timer {
 public:
  explicit Timer(Loop& loop);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void once(std::uint64_t ms, std::function<void()> f);
  void every(std::uint64_t ms, std::function<void()> f);
  void stop();
  void unref();  // does not keep the loop alive

 private:
  void start(std::uint64_t ms, std::uint64_t repeat, std::function<void()> f);
  struct Handle;
  Handle* handle_;
};

class SignalWatch {
 public:
  SignalWatch(Loop& loop, int number, std::function<void()> f);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct Handle;
  Handle* handle_;
};

}  // namespace ssi
