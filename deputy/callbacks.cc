// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/callbacks.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <cstdlib>

#include "common/tcp.h"
#include "common/wire.h"

namespace ssi {
namespace {

constexpr std::size_t most_strangers = 32;    // connections that have not said their rendezvous
constexpr std::uint64_t patience_ms = 5'000;  // for it

}  // namespace

Callbacks::Callbacks(Loop& loop, Fd listener)
    : loop_(loop),
      listener_(std::move(listener)),
      poll_(loop, listener_.fd(), [this](int) { accept_all(); }) {
  poll_.want(UV_READABLE);
}

Result<std::unique_ptr<Callbacks>> Callbacks::listen(Loop& loop, const std::string& address) {
  auto listener = listen_tcp(address);
  if (!listener) return tl::make_unexpected(listener.error());
  return std::unique_ptr<Callbacks>(new Callbacks(loop, std::move(*listener)));
}

std::string Callbacks::expect(std::function<void(Fd)> connected) {
  std::string rendezvous(wire::rendezvous_size, '\0');
  if (::getrandom(rendezvous.data(), rendezvous.size(), 0) != static_cast<ssize_t>(rendezvous.size()))
    std::abort();
  expected_[rendezvous] = std::move(connected);
  return rendezvous;
}

void Callbacks::accept_all() {
  for (;;) {
    Fd socket = listener_.accept();
    if (!socket) return;
    if (strangers_.size() >= most_strangers) continue;  // it sees the connection closed
    strangers_.push_back({std::move(socket), {}, nullptr, nullptr});
    const auto stranger = std::prev(strangers_.end());
    stranger->poll =
        std::make_unique<Poll>(loop_, stranger->socket.get(), [this, stranger](int) { hear(stranger); });
    stranger->poll->want(UV_READABLE);
    stranger->patience = std::make_unique<Timer>(loop_);
    stranger->patience->once(patience_ms, [this, stranger] { strangers_.erase(stranger); });
  }
}

void Callbacks::hear(std::list<Stranger>::iterator stranger) {
  char bytes[wire::rendezvous_size];
  const auto size = ::recv(stranger->socket.get(), bytes, sizeof bytes - stranger->said.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return void(strangers_.erase(stranger));
  stranger->said.append(bytes, static_cast<std::size_t>(size));
  if (stranger->said.size() < sizeof bytes) return;
  auto socket = std::move(stranger->socket);
  auto found = expected_.extract(stranger->said);
  strangers_.erase(stranger);
  if (found) found.mapped()(std::move(socket));
}

}  // namespace ssi
