// SPDX-License-Identifier: LGPL-2.1-or-later
// ZeroMQ on the loop: one DEALER (agents, deputies) or ROUTER (scheduler) of wire::Control messages, CURVE always on.
// With control_socket.cc and zap.cc the only file that names ZeroMQ; sockets never leave the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/identity.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

// The scheduler's side. Admits only keys that `admit` accepts, by an enforced ZAP handler (fails closed).
class ControlServer {
 public:
  struct Peer {
    std::string route;      // ZeroMQ routing id, for send()
    std::string curve_key;  // 32 bytes, authenticated by ZAP for the connection this message came over
  };
  struct Events {
    std::function<bool(std::string_view curve_key)> admit;  // asked at each handshake and for each message
    std::function<void(const Peer&, wire::Control&&)> message;
    std::function<void(const Peer&, const Error&)> malformed;  // undecodable; nothing else was done
    // Where not every key is known beforehand. Empty: `admit` is asked, and wire::max_control holds for all.
    std::function<bool(std::string_view curve_key)> connect = {};  // at each handshake
    std::function<std::size_t(std::string_view curve_key)> longest =
        {};  // bytes; longer messages are dropped unread
  };

  // Binds to "HOST:PORT". Source: zmq_bind(3).
  static Result<std::unique_ptr<ControlServer>> listen(Loop& loop, const std::string& address,
                                                       const Identity& self, Events events);
  ~ControlServer();
  void send(const std::string& route,
            const wire::Control& message);  // dropped when the peer is gone or too slow
  bool is_deaf() const;  // for want of descriptors: nobody is connected, and nobody can be

 private:
  struct Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The agents' and deputies' side. Reconnects by itself.
class ControlClient {
 public:
  enum class Link { connecting, up, down };
  struct Events {
    std::function<void(wire::Control&&)> message;
    // The link's state changed. With `down`, `why` is one line: "connection refused", "the scheduler refused our key
    // 1a2b…", "is not the scheduler with key 3c4d…".
    std::function<void(Link, const std::string& why)> link;
  };

  // `address` is "HOST:PORT"; `server_key` the scheduler's Ed25519 public key.
  static Result<std::unique_ptr<ControlClient>> connect(Loop& loop, const std::string& address,
                                                        std::string_view server_key, const Identity& self,
                                                        Events events);
  ~ControlClient();
  Link link() const;
  const std::string& why_down() const;
  void send(const wire::Control& message);  // queued (bounded) while not up

 private:
  struct Impl;
  explicit ControlClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ssi
