// SPDX-License-Identifier: LGPL-2.1-or-later
// Who may connect: the ZAP handler (ZeroMQ RFC 27) of one context, on the loop. Without one, CURVE accepts
// every key (measured); with one and ZMQ_ZAP_ENFORCE_DOMAIN, libzmq refuses all that it does not accept.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/zmq_socket.h"

namespace ssi {

class Zap {
 public:
  static constexpr std::string_view domain = "ssi";
  using Admit = std::function<bool(std::string_view curve_key)>;

  // Must exist before the context's server socket binds. A connection whose key was accepted carries the key
  // as its messages' "User-Id", see key_of_user().
  static Result<std::unique_ptr<Zap>> start(Loop& loop, ZmqContext& context, Admit admit);

 private:
  explicit Zap(ZmqContext& context, Admit admit);
  void answer();

  ZmqSocket socket_;
  Admit admit_;
};

// The 32-byte key in a "User-Id" that our handler gave; empty when it is none.
std::string key_of_user(std::string_view user);

}  // namespace ssi
