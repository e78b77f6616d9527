// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/callbacks.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <string>

#include "common/tcp.h"

using namespace ssi;

namespace {

// A port that is free just now.
std::unique_ptr<Callbacks> listen(Loop& loop, std::string& address) {
  for (int port = 20'000; port < 20'100; ++port) {
    address = "127.0.0.1:" + std::to_string(port);
    if (auto listening = Callbacks::listen(loop, address)) return std::move(*listening);
  }
  return nullptr;
}

void run_for(Loop& loop, std::uint64_t ms) {
  Timer end(loop);
  end.once(ms, [&] { loop.stop(); });
  loop.run();
}

}  // namespace

TEST_CASE("each connection goes to whoever expects its rendezvous, once") {
  Loop loop;
  std::string address;
  const auto callbacks = listen(loop, address);
  REQUIRE(callbacks);
  std::string got;
  const auto take = [&](char who) {
    return [&got, who](Fd socket) {
      char next = 0;
      got += who;
      if (::recv(socket.get(), &next, 1, 0) == 1) got += next;
    };
  };
  const auto a = callbacks->expect(take('a')), b = callbacks->expect(take('b')),
             c = callbacks->expect(take('c'));
  CHECK(a != b);
  callbacks->cancel(c);
  const auto call = [&](const std::string& said) {
    auto socket = dial_tcp(address);
    REQUIRE(socket);
    run_for(loop, 20);
    CHECK(::send(socket->get(), said.data(), said.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(said.size()));
    run_for(loop, 50);
    char end = 0;
    return ::recv(socket->get(), &end, 1, MSG_DONTWAIT);  // 0 when it was closed
  };
  CHECK(call(b + "x") <= 0);
  CHECK(got == "bx");
  CHECK(call(a + "y") <= 0);
  CHECK(got == "bxay");
  for (const auto& strange : {a, c, std::string(16, '?')}) CHECK(call(strange) == 0);
  CHECK(call("short") < 0);  // it may still say the rest
  CHECK(got == "bxay");
}
