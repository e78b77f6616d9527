// SPDX-License-Identifier: LGPL-2.1-or-later
// A ZeroMQ context and a socket on the loop. Only for control_socket.cc and zap.cc.
#pragma once

#include <zmq.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/loop.h"
#include "common/result.h"

namespace ssi {

class ZmqContext {
 public:
  ZmqContext() : context_(zmq_ctx_new()) {
    if (!context_) std::abort();
  }
  ~ZmqContext() { zmq_ctx_term(context_); }
  ZmqContext(const ZmqContext&) = delete;
  ZmqContext& operator=(const ZmqContext&) = delete;
  void* get() { return context_; }

 private:
  void* context_;
};

// One frame as it arrived.
struct ZmqFrame {
  std::string bytes;
  std::string user;   // the "User-Id" that ZAP gave the connection; empty: none
  bool more = false;  // another frame of the same message follows
};

// ZMQ_FD is edge-triggered and any send or receive may swallow the edge, so readiness is asked of ZMQ_EVENTS
// once per turn, just before the loop would sleep; the fd only wakes the loop. (One receive per wake-up
// delivered 1 message of 1000: measured.)
class ZmqSocket {
 public:
  ZmqSocket(ZmqContext& context, int type) : handle_(new Handle) {
    handle_->socket = zmq_socket(context.get(), type);
    if (!handle_->socket) std::abort();  // out of descriptors at start, or our own mistake
    set(ZMQ_LINGER, 0);
  }

  ~ZmqSocket() {
    handle_->closed = true;
    if (handle_->watched) {
      uv_poll_stop(&handle_->poll);
      for (auto* uv :
           {reinterpret_cast<uv_handle_t*>(&handle_->poll), reinterpret_cast<uv_handle_t*>(&handle_->prepare),
            reinterpret_cast<uv_handle_t*>(&handle_->idle)})
        uv_close(uv, [](uv_handle_t* closing) {
          auto* handle = static_cast<Handle*>(closing->data);
          if (--handle->open == 0) delete handle;
        });
    }
    zmq_close(std::exchange(handle_->socket, nullptr));
    if (!handle_->watched) delete handle_;
  }
  ZmqSocket(const ZmqSocket&) = delete;
  ZmqSocket& operator=(const ZmqSocket&) = delete;

  void* get() { return handle_->socket; }

  // A wrong option or value is our own mistake.
  void set(int option, int value) {
    if (zmq_setsockopt(handle_->socket, option, &value, sizeof value) != 0) std::abort();
  }
  void set(int option, std::int64_t value) {
    if (zmq_setsockopt(handle_->socket, option, &value, sizeof value) != 0) std::abort();
  }
  void set(int option, std::string_view value) {
    if (zmq_setsockopt(handle_->socket, option, value.data(), value.size()) != 0) std::abort();
  }

  // `readable` is called on the loop while a message waits, and takes it with receive(). It may destroy the
  // socket.
  void watch(Loop& loop, std::function<void()> readable) {
    int fd = -1;
    std::size_t size = sizeof fd;
    if (zmq_getsockopt(handle_->socket, ZMQ_FD, &fd, &size) != 0 ||
        uv_poll_init(loop.uv(), &handle_->poll, fd) != 0)
      std::abort();
    uv_prepare_init(loop.uv(), &handle_->prepare);
    uv_idle_init(loop.uv(), &handle_->idle);
    handle_->poll.data = handle_->prepare.data = handle_->idle.data = handle_;
    handle_->watched = true;
    handle_->readable = std::move(readable);
    uv_poll_start(&handle_->poll, UV_READABLE, [](uv_poll_t*, int, int) {});
    uv_prepare_start(&handle_->prepare,
                     [](uv_prepare_t* uv) { before_sleep(static_cast<Handle*>(uv->data)); });
    uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->prepare));
    stay_awake(handle_);
  }

  // Sends all frames as one message, or nothing: false when the peer is gone or its queue is full.
  bool send(const std::vector<std::string_view>& frames) {
    bool sent = true;
    for (std::size_t i = 0; i < frames.size() && sent; ++i) {
      const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
      sent = zmq_send(handle_->socket, frames[i].data(), frames[i].size(), ZMQ_DONTWAIT | more) >= 0;
    }
    // It may have swallowed an edge after this turn's question was asked.
    if (handle_->watched) stay_awake(handle_);
    return sent;
  }

  // The frames of the next message; none when there is none.
  std::vector<ZmqFrame> receive() {
    std::vector<ZmqFrame> frames;
    do {
      zmq_msg_t message;
      zmq_msg_init(&message);
      if (zmq_msg_recv(&message, handle_->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&message);
        break;
      }
      const char* user = zmq_msg_gets(&message, "User-Id");
      frames.push_back({std::string(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message)),
                        user ? user : "", zmq_msg_more(&message) != 0});
      zmq_msg_close(&message);
    } while (frames.back().more);
    return frames;
  }

 private:
  static constexpr int turn = 256;  // messages before the other handles of the loop are served

  struct Handle {
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    void* socket = nullptr;
    std::function<void()> readable;
    bool watched = false, closed = false;
    int open = 3;
  };

  static void stay_awake(Handle* handle) {
    uv_idle_start(&handle->idle, [](uv_idle_t*) {});
  }

  static bool waiting(Handle* handle) {
    int events = 0;
    std::size_t size = sizeof events;
    return zmq_getsockopt(handle->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
  }

  static void before_sleep(Handle* handle) {
    if (handle->closed) return;
    uv_idle_stop(&handle->idle);
    for (int i = 0; waiting(handle); ++i) {
      if (i == turn) return stay_awake(handle);
      handle->readable();
      if (handle->closed) return;
    }
  }

  Handle* handle_;
};

// Defaults that a peer could abuse, for both ends of a link (trust.md, point 4).
inline void harden(ZmqSocket& socket, std::int64_t max_message) {
  socket.set(ZMQ_MAXMSGSIZE, max_message);
  socket.set(ZMQ_HANDSHAKE_IVL, 2'000);
  socket.set(ZMQ_HEARTBEAT_IVL, 2'000);
  socket.set(ZMQ_HEARTBEAT_TIMEOUT, 10'000);
  socket.set(ZMQ_SNDHWM, 4'000);
  socket.set(ZMQ_RCVHWM, 4'000);
}

}  // namespace ssi
