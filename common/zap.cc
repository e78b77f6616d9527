// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/zap.h"

#include "common/identity.h"

namespace ssi {
namespace {

// A request's frames, in this order.
enum Request {
  version,
  request_id,
  request_domain,
  peer_address,
  peer_routing_id,
  mechanism,
  credentials,
  frames
};

}  // namespace

Zap::Zap(ZmqContext& context, Admit admit) : socket_(context, ZMQ_REP), admit_(std::move(admit)) {}

Result<std::unique_ptr<Zap>> Zap::start(Loop& loop, ZmqContext& context, Admit admit) {
  std::unique_ptr<Zap> zap(new Zap(context, std::move(admit)));
  if (zmq_bind(zap->socket_.get(), "inproc://zeromq.zap.01") != 0)
    return failure(std::string("bind the ZAP handler: ") + zmq_strerror(zmq_errno()));
  zap->socket_.watch(loop, [self = zap.get()] { self->answer(); });
  return zap;
}

void Zap::answer() {
  const auto request = socket_.receive();
  if (request.empty()) return;
  const bool accepted = request.size() == frames && request[version].bytes == "1.0" &&
                        request[request_domain].bytes == domain && request[mechanism].bytes == "CURVE" &&
                        request[credentials].bytes.size() == 32 && admit_(request[credentials].bytes);
  // User-Id is text for libzmq, so the key travels as digits.
  const auto user = accepted ? key_text(request[credentials].bytes) : std::string();
  const auto id = request.size() > request_id ? request[request_id].bytes : std::string();
  socket_.send({"1.0", id, accepted ? "200" : "400", accepted ? "OK" : "unknown key", user, ""});
}

std::string key_of_user(std::string_view user) {
  // Not parse_key(): that is for Ed25519 keys, this is the CURVE half.
  std::string key;
  if (user.size() != 64) return key;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i < user.size(); i += 2)
    key.push_back(static_cast<char>(digit(user[i]) << 4 | digit(user[i + 1])));
  return key;
}

}  // namespace ssi
