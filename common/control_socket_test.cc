// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/control_socket.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <zmq.h>

#include <atomic>
#include <set>
#include <thread>

#include "common/fd.h"

using namespace ssi;

namespace {

// A port of loopback that nobody listens on just now.
std::string free_address() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  return "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
}

// Runs the loop until `done` or for `ms`.
bool run_until(Loop& loop, const std::function<bool()>& done, std::uint64_t ms = 10'000) {
  Timer look(loop), end(loop);
  look.every(5, [&] {
    if (done()) loop.stop();
  });
  end.once(ms, [&] { loop.stop(); });
  loop.run();
  return done();
}

struct Server {
  Identity self = Identity::generate();
  std::set<std::string, std::less<>> admitted;
  std::vector<wire::Control> messages;
  std::vector<ControlServer::Peer> peers;
  std::vector<std::string> malformed;
  std::function<void()> heard;
  std::unique_ptr<ControlServer> socket;

  void admit(const Identity& who) { admitted.insert(who.curve_public()); }
  void listen(Loop& loop, const std::string& address) {
    auto made = ControlServer::listen(
        loop, address, self,
        {[this](std::string_view key) { return admitted.contains(key); },
         [this](const ControlServer::Peer& peer, wire::Control&& message) {
           peers.push_back(peer);
           messages.push_back(std::move(message));
           if (heard) heard();
         },
         [this](const ControlServer::Peer&, const Error& why) { malformed.push_back(why.text()); }});
    REQUIRE_MESSAGE(made, made.error().text());
    socket = std::move(*made);
  }
};

struct Client {
  Identity self = Identity::generate();
  std::vector<wire::Control> messages;
  std::vector<std::string> links;
  std::unique_ptr<ControlClient> socket;

  void connect(Loop& loop, const std::string& address, const std::string& server_key) {
    auto made =
        ControlClient::connect(loop, address, server_key, self,
                               {[this](wire::Control&& message) { messages.push_back(std::move(message)); },
                                [this](ControlClient::Link link, const std::string& why) {
                                  links.push_back(link == ControlClient::Link::up ? "up" : why);
                                }});
    REQUIRE_MESSAGE(made, made.error().text());
    socket = std::move(*made);
  }
  bool up() const { return socket->link() == ControlClient::Link::up; }
  bool down() const { return socket->link() == ControlClient::Link::down; }
};

wire::Control status(std::uint64_t number) {
  return wire::StatusRequest{number};
}

// A peer with an admitted key that is not our program.
struct Hostile {
  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_DEALER);
  Hostile(const std::string& address, const Identity& self, const Identity& server) {
    const int now = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &now, sizeof now);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, self.curve_public().data(), 32);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, self.curve_secret().data(), 32);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server.curve_public().data(), 32);
    REQUIRE(zmq_connect(socket, ("tcp://" + address).c_str()) == 0);
  }
  ~Hostile() {
    zmq_close(socket);
    zmq_ctx_term(context);
  }
  void send(const std::string& bytes, int flags = 0) {
    CHECK(zmq_send(socket, bytes.data(), bytes.size(), ZMQ_DONTWAIT | flags) >= 0);
  }
};

}  // namespace

TEST_CASE("an admitted key is heard, and answered") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.admit(client.self);
  server.listen(loop, address);
  client.connect(loop, address, server.self.public_key());
  CHECK(client.socket->link() == ControlClient::Link::connecting);
  client.socket->send(status(7));
  REQUIRE(run_until(loop, [&] { return server.messages.size() == 1; }));
  CHECK(std::get<wire::StatusRequest>(server.messages[0]).request == 7);
  CHECK(server.peers[0].curve_key == client.self.curve_public());
  CHECK(client.up());
  server.socket->send(server.peers[0].route, wire::PlaceTaken{8});
  REQUIRE(run_until(loop, [&] { return client.messages.size() == 1; }));
  CHECK(std::get<wire::PlaceTaken>(client.messages[0]).request == 8);
}

TEST_CASE("an unknown key is refused, says so, and is heard once it is admitted") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.listen(loop, address);
  client.connect(loop, address, server.self.public_key());
  client.socket->send(status(1));
  REQUIRE(run_until(loop, [&] { return client.down(); }));
  CHECK(client.socket->why_down() ==
        "the scheduler refused our key " + fingerprint(client.self.public_key()));
  run_until(
      loop, [] { return false; }, 300);
  CHECK(server.messages.empty());
  server.admit(client.self);
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  client.socket->send(status(2));
  CHECK(run_until(loop, [&] { return !server.messages.empty(); }));
}

TEST_CASE("a server with another key is not the scheduler") {
  Loop loop;
  Server impostor;
  Client client;
  const auto address = free_address();
  const auto expected = Identity::generate();
  impostor.admit(client.self);
  impostor.listen(loop, address);
  client.connect(loop, address, expected.public_key());
  client.socket->send(status(1));
  REQUIRE(run_until(loop, [&] { return client.down(); }));
  CHECK(client.socket->why_down() ==
        address + " is not the scheduler with key " + fingerprint(expected.public_key()));
  CHECK(impostor.messages.empty());
  // The right one comes to that address: the client finds it by itself.
  impostor.socket.reset();
  Server right;
  right.self = expected;
  right.admit(client.self);
  right.listen(loop, address);
  CHECK(run_until(loop, [&] { return client.up(); }));
}

TEST_CASE("a scheduler that is killed within the handshake is not one with another key") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Fd dying(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(dying.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  REQUIRE(::bind(dying.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(::listen(dying.get(), 1) == 0);
  std::atomic<bool> is_dead = false;
  std::thread killed([&] {
    const Fd connection(::accept4(dying.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char theirs[64], ours[64] = {'\xff', 0, 0, 0, 0, 0, 0, 0, 1, '\x7f', 3, 0, 'C', 'U', 'R', 'V', 'E'};  // ZMTP 3.0's greeting
    ours[32] = 1;
    CHECK(::recv(connection.get(), theirs, 10, MSG_WAITALL) == 10);
    CHECK(::send(connection.get(), ours, sizeof ours, MSG_NOSIGNAL) == sizeof ours);
    CHECK(::recv(connection.get(), theirs, 64, MSG_WAITALL) == 64);  // the rest of theirs, and some of HELLO
    dying.reset();
    is_dead = true;
  });
  client.connect(loop, address, server.self.public_key());
  run_until(loop, [&] { return is_dead.load(); });
  killed.join();
  server.admit(client.self);
  server.listen(loop, address);
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  for (const auto& link : client.links) CHECK(link.find("is not the scheduler") == link.npos);
}

TEST_CASE("nobody listens: connection refused, and up when somebody does") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.admit(client.self);
  client.connect(loop, address, server.self.public_key());
  REQUIRE(run_until(loop, [&] { return client.down(); }));
  CHECK(client.socket->why_down() == "connection refused");
  server.listen(loop, address);
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  server.socket.reset();
  REQUIRE(run_until(loop, [&] { return client.down(); }));
  server.listen(loop, address);
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  client.socket->send(status(3));
  CHECK(run_until(loop, [&] { return !server.messages.empty(); }));
}

TEST_CASE("a revoked key's open connection is refused") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.admit(client.self);
  server.listen(loop, address);
  client.connect(loop, address, server.self.public_key());
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  server.admitted.clear();
  client.socket->send(status(1));
  REQUIRE(run_until(loop, [&] { return !client.messages.empty(); }));
  CHECK(std::get<wire::Refused>(client.messages[0]).reason == "the scheduler no longer admits this key");
  CHECK(server.messages.empty());
}

TEST_CASE("1000 messages in one burst all arrive, both ways, in order") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.admit(client.self);
  server.listen(loop, address);
  client.connect(loop, address, server.self.public_key());
  REQUIRE(run_until(loop, [&] { return client.up(); }));
  for (std::uint64_t i = 0; i < 1000; ++i) client.socket->send(status(i));
  // No timer may wake the loop on the way: it would hide a lost edge.
  server.heard = [&] {
    if (server.messages.size() == 1000) loop.stop();
  };
  Timer end(loop);
  end.once(10'000, [&] { loop.stop(); });
  loop.run();
  REQUIRE(server.messages.size() == 1000);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    CHECK(std::get<wire::StatusRequest>(server.messages[i]).request == i);
    server.socket->send(server.peers[0].route, status(i));
  }
  CHECK(run_until(loop, [&] { return client.messages.size() == 1000; }));
}

TEST_CASE("what is oversize or malformed reaches nobody") {
  Loop loop;
  Server server;
  const auto address = free_address();
  const auto self = Identity::generate();
  server.admit(self);
  server.listen(loop, address);
  Hostile peer(address, self, server.self);
  peer.send("garbage");
  peer.send(wire::encode(status(1)), ZMQ_SNDMORE);
  peer.send("a second frame");
  peer.send("");
  REQUIRE(run_until(loop, [&] { return server.malformed.size() == 3; }));
  peer.send(std::string(2 << 20, '\x90'));
  run_until(
      loop, [] { return false; }, 300);
  CHECK(server.malformed.size() == 3);
  CHECK(server.messages.empty());
  // The connection was dropped for it; a new one is as good as any.
  REQUIRE(run_until(loop, [&] {
    peer.send(wire::encode(status(2)));
    return !server.messages.empty();
  }));
  CHECK(std::get<wire::StatusRequest>(server.messages[0]).request == 2);
}

TEST_CASE("a socket may be destroyed in its own callback") {
  Loop loop;
  Server server;
  const auto address = free_address();
  const auto self = Identity::generate();
  server.admit(self);
  server.listen(loop, address);
  std::unique_ptr<ControlClient> client;
  client = std::move(*ControlClient::connect(
      loop, address, server.self.public_key(), self,
      {[](wire::Control&&) {}, [&](ControlClient::Link, const std::string&) { client.reset(); }}));
  CHECK(run_until(loop, [&] { return !client; }));
}

TEST_CASE("addresses that are none") {
  Loop loop;
  const auto self = Identity::generate();
  for (const char* address : {"", "host", ":1", "host:", "host:0", "host:65536", "host:1x", "a b:1", "a/b:1",
                              "[::1:1", "::1:1", "*:1"}) {
    CAPTURE(address);
    CHECK_FALSE(ControlClient::connect(loop, address, self.public_key(), self, {}));
    const auto listening = ControlServer::listen(loop, address, self, {});
    REQUIRE_FALSE(listening);
    CHECK(listening.error().text() == "'" + std::string(address) + "' is not HOST:PORT");
  }
  CHECK_FALSE(ControlClient::connect(loop, "127.0.0.1:1", "short", self, {}));
}

TEST_CASE("a taken port is one clear line") {
  Loop loop;
  Server server;
  const auto address = free_address();
  server.listen(loop, address);
  const auto second = ControlServer::listen(loop, address, server.self, {});
  REQUIRE_FALSE(second);
  CHECK(second.error().text() == "listen on " + address + ": Address already in use");
}

TEST_CASE("a host name, and IPv6 in brackets") {
  Loop loop;
  Server server;
  Client client;
  const auto address = free_address();
  server.admit(client.self);
  server.listen(loop, address);
  addrinfo* found = nullptr;
  if (::getaddrinfo("localhost", nullptr, nullptr, &found) == 0) {
    ::freeaddrinfo(found);
    client.connect(loop, "localhost" + address.substr(address.rfind(':')), server.self.public_key());
    CHECK(run_until(loop, [&] { return client.up(); }));
  } else {
    MESSAGE("this machine knows no localhost (an installation without /etc/hosts)");
  }
  const auto at6 = "[::1]" + address.substr(address.rfind(':'));
  Server server6;
  auto made = ControlServer::listen(loop, at6, server6.self, {[](std::string_view) { return true; }, {}, {}});
  if (!made) {
    MESSAGE("this machine has no IPv6: " << made.error().text());
    return;
  }
  Client client6;
  client6.connect(loop, at6, server6.self.public_key());
  CHECK(run_until(loop, [&] { return client6.up(); }));
}
