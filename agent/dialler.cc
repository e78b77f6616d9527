// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dialler.h"

#include <sys/socket.h>

#include <cstring>

#include "common/log.h"
#include "common/tcp.h"

namespace ssi {
namespace {

constexpr std::size_t most_calls = 32;  // at once: a scheduler has no reason to ask for more
constexpr std::uint64_t patience_ms = 10'000;

}  // namespace

void Dialler::dial(const wire::Dial& to) {
  if (calls_.size() >= most_calls || to.rendezvous.size() != wire::rendezvous_size) return;
  auto socket = dial_tcp(to.address);
  if (!socket) return log::warning("a home asked to be called: {}", socket.error().text());
  calls_.push_back({std::move(*socket), to.address, to.rendezvous, to.session, nullptr, nullptr});
  const auto call = std::prev(calls_.end());
  call->poll = std::make_unique<Poll>(loop_, call->socket.get(), [this, call](int) { finish(call); });
  call->poll->want(UV_WRITABLE);
  call->patience = std::make_unique<Timer>(loop_);
  call->patience->once(patience_ms, [this, call] { drop(call, std::strerror(ETIMEDOUT)); });
}

void Dialler::finish(std::list<Call>::iterator call) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(call->socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return drop(call, std::strerror(error));
  // The first bytes of a fresh connection: the kernel takes all of them or the connection is broken.
  if (::send(call->socket.get(), call->rendezvous.data(), call->rendezvous.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(call->rendezvous.size()))
    return drop(call, std::strerror(errno));
  auto socket = std::move(call->socket);
  const auto session = std::move(call->session);
  calls_.erase(call);
  connected_(std::move(socket), session);
}

void Dialler::drop(std::list<Call>::iterator call, const std::string& why) {
  log::warning("a home asked to be called at {}: {}", call->address, why);
  calls_.erase(call);
}

}  // namespace ssi
