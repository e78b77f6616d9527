// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dialler.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace ssi;

namespace {

struct Listener {
  Fd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string address;
  Listener() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(socket.get(), 8) == 0);
    REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  }
};

}  // namespace

TEST_CASE("a home is called, and finds its rendezvous first on the connection") {
  Loop loop;
  Listener home;
  Fd connection;
  Dialler dialler(loop, [&](Fd made, const wire::Bytes& session) {
    CHECK(session == "of a session");
    connection = std::move(made);
    loop.stop();
  });
  Timer limit(loop);
  limit.once(5'000, [&] { loop.stop(); });
  const std::string rendezvous = "0123456789abcdef";
  dialler.dial({"127.0.0.1:1", rendezvous, ""});  // nobody listens there: no harm is done
  dialler.dial({"nowhere", rendezvous, ""});      // nor there
  dialler.dial({home.address, "too short", ""});
  dialler.dial({home.address, rendezvous, "of a session"});
  loop.run();
  REQUIRE(connection);
  const Fd accepted(::accept4(home.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  char got[32];
  CHECK(::recv(accepted.get(), got, sizeof got, 0) == 16);
  CHECK(std::string(got, 16) == rendezvous);
}
