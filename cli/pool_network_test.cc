// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_network.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace ssi {
namespace {

// As our daemons do it.
bool can_listen(int port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, "127.0.0.1", &place.sin_addr);
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&place), sizeof place) == 0 &&
         ::listen(socket.get(), 1) == 0;
}

TEST_CASE("a network of nobody's own is home's loopback") {
  const PoolNetwork none;
  CHECK(none.is_loopback());
  CHECK(none.home_address() == "127.0.0.1");
  CHECK(none.guest_address(7) == "127.0.0.1");
  CHECK(remove_network(none, 2));
}

TEST_CASE("a reserved port is for one daemon and for no other reservation") {
  auto one = reserve_port("127.0.0.1", 7800), other = reserve_port("127.0.0.1", 7800);
  REQUIRE(one);
  REQUIRE(other);
  CHECK(one->number != other->number);
  CHECK(can_listen(one->number));
  CHECK(can_listen(other->number));
  one->held.reset();
  CHECK_FALSE(reserve_port("192.0.2.1", 7800));
}

}  // namespace
}  // namespace ssi
