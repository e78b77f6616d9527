// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/loop.h"

#include <fcntl.h>

#include <cstdlib>
#include <utility>

namespace ssi {
namespace {

// libuv fails here only for want of memory or descriptors at start, or by our own mistake.
void must(int status) {
  if (status != 0) std::abort();
}

template <class Handle>
void close_and_delete(Handle* handle) {
  handle->uv.data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->uv), [](uv_handle_t* uv) {
    // `uv` is the first member of each Handle.
    delete reinterpret_cast<Handle*>(uv);
  });
}

}  // namespace

Loop::Loop() {
  must(uv_loop_init(&loop_));
  must(uv_idle_init(&loop_, &awake_));
  must(uv_check_init(&loop_, &after_poll_));
  after_poll_.data = this;
}

Loop::~Loop() {
  deferred_.clear();  // what they own has handles
  uv_walk(
      &loop_,
      [](uv_handle_t* handle, void*) {
        if (!uv_is_closing(handle)) uv_close(handle, nullptr);
      },
      nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
}

void Loop::run() {
  uv_run(&loop_, UV_RUN_DEFAULT);
}
void Loop::stop() {
  uv_stop(&loop_);
}

// What was deferred while callbacks of the poll ran is called right after them, before the loop could sleep. The idle
// handle keeps it from sleeping when something was deferred elsewhere in the turn.
void Loop::defer(std::function<void()> f) {
  deferred_.push_back(std::move(f));
  must(uv_idle_start(&awake_, [](uv_idle_t*) {}));
  must(uv_check_start(&after_poll_, [](uv_check_t* uv) {
    auto& self = *static_cast<Loop*>(uv->data);
    uv_check_stop(uv);
    uv_idle_stop(&self.awake_);
    for (const auto& call : std::exchange(self.deferred_, {})) call();
  }));
}

void Loop::queue_work(std::function<void()> work, std::function<void()> done) {
  struct Work {
    uv_work_t uv;
    std::function<void()> work, done;
  };
  auto* item = new Work{{}, std::move(work), std::move(done)};
  must(uv_queue_work(
      &loop_, &item->uv, [](uv_work_t* uv) { reinterpret_cast<Work*>(uv)->work(); },
      [](uv_work_t* uv, int) {
        const std::unique_ptr<Work> self(reinterpret_cast<Work*>(uv));
        self->done();
      }));
}

struct Poll::Handle {
  uv_poll_t uv;
  Ready ready;
  int wanted = 0;
};

Poll::Poll(Loop& loop, int fd, Ready ready) : handle_(new Handle{{}, std::move(ready)}) {
  // uv_poll_init sets O_NONBLOCK, on a description that others may hold too.
  const int flags = ::fcntl(fd, F_GETFL);
  must(uv_poll_init(loop.uv(), &handle_->uv, fd));
  ::fcntl(fd, F_SETFL, flags);
  handle_->uv.data = handle_;
}

Poll::~Poll() {
  uv_poll_stop(&handle_->uv);
  close_and_delete(handle_);
}

void Poll::want(int events) {
  if (events == std::exchange(handle_->wanted, events))
    return;  // uv_poll_start costs a system call each time
  if (events == 0) {
    uv_poll_stop(&handle_->uv);
    return;
  }
  must(uv_poll_start(&handle_->uv, events, [](uv_poll_t* uv, int status, int ready) {
    if (!uv->data) return;
    auto& self = *static_cast<Handle*>(uv->data);
    if (status < 0) self.wanted = 0;  // libuv has stopped the handle
    const auto call = self.ready;     // a copy: the callback may destroy the Poll
    call(status < 0 ? UV_READABLE | UV_WRITABLE : ready);
  }));
}

struct Timer::Handle {
  uv_timer_t uv;
  std::function<void()> f;
};

Timer::Timer(Loop& loop) : handle_(new Handle{}) {
  must(uv_timer_init(loop.uv(), &handle_->uv));
  handle_->uv.data = handle_;
}

Timer::~Timer() {
  close_and_delete(handle_);
}

void Timer::start(std::uint64_t ms, std::uint64_t repeat, std::function<void()> f) {
  handle_->f = std::move(f);
  must(uv_timer_start(
      &handle_->uv,
      [](uv_timer_t* uv) {
        if (!uv->data) return;
        const auto call = static_cast<Handle*>(uv->data)->f;
        call();
      },
      ms, repeat));
}

void Timer::once(std::uint64_t ms, std::function<void()> f) {
  start(ms, 0, std::move(f));
}
void Timer::every(std::uint64_t ms, std::function<void()> f) {
  start(ms, ms, std::move(f));
}
void Timer::stop() {
  uv_timer_stop(&handle_->uv);
}
void Timer::unref() {
  uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->uv));
}

struct SignalWatch::Handle {
  uv_signal_t uv;
  std::function<void()> f;
};

SignalWatch::SignalWatch(Loop& loop, int number, std::function<void()> f)
    : handle_(new Handle{{}, std::move(f)}) {
  must(uv_signal_init(loop.uv(), &handle_->uv));
  handle_->uv.data = handle_;
  must(uv_signal_start(
      &handle_->uv,
      [](uv_signal_t* uv, int) {
        if (!uv->data) return;
        const auto call = static_cast<Handle*>(uv->data)->f;
        call();
      },
      number));
  uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->uv));
}

SignalWatch::~SignalWatch() {
  uv_signal_stop(&handle_->uv);
  close_and_delete(handle_);
}

}  // namespace ssi
