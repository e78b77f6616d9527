// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests: a scheduler and its peers as they meet it, by real sockets, real CURVE and real files.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/test_folder.h"
#include "scheduler/service.h"

namespace ssi::test {

inline std::string free_address() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  return "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
}

struct Pool {
  TestFolder folder;
  const std::string& directory = folder.path();
  std::string address = free_address();
  Identity self = Identity::generate();
  Loop loop;
  std::unique_ptr<Service> service;

  Pool() {
    start();
  }
  void start() {
    service.reset();
    auto made = Service::start(loop, address, self, *Admission::open(directory), Tokens(directory));
    REQUIRE_MESSAGE(made, made.error().text());
    service = std::move(*made);
  }
  void admit(const std::string& name, const std::string& role, const Identity& who) const {
    std::ofstream(directory + "/" + name + ".pub") << role << " " << key_text(who.public_key()) << "\n";
  }
  bool run_until(const std::function<bool()>& done, std::uint64_t ms = 10'000) {
    Timer look(loop), end(loop);
    look.every(5, [&] {
      if (done()) loop.stop();
    });
    end.once(ms, [&] { loop.stop(); });
    loop.run();
    return done();
  }
  void run_for(std::uint64_t ms) {
    run_until([] { return false; }, ms);
  }
};

struct Peer {
  Pool& pool;
  Identity self = Identity::generate();
  std::vector<wire::Control> heard;
  std::unique_ptr<ControlClient> socket;

  // `role` "": a stranger.
  Peer(Pool& of, const std::string& name, const std::string& role) : pool(of) {
    if (!role.empty()) pool.admit(name, role, self);
    auto made = ControlClient::connect(
        pool.loop, pool.address, pool.self.public_key(), self,
        {[this](wire::Control&& message) { heard.push_back(std::move(message)); }, {}});
    REQUIRE(made);
    socket = std::move(*made);
  }
  // The next message heard of a kind.
  template <class Kind>
  Kind next() {
    std::optional<Kind> found;
    const auto look = [&] {
      for (auto at = heard.begin(); at != heard.end() && !found; ++at)
        if (auto* kind = std::get_if<Kind>(&*at)) {
          found = std::move(*kind);
          heard.erase(at);
          break;
        }
      return found.has_value();
    };
    REQUIRE(pool.run_until(look));
    return *found;
  }
  // The same, sent for again and again: what is sent before a lost link has come back is lost too.
  template <class Kind>
  Kind next_after(const std::function<void()>& send) {
    Timer again(pool.loop);
    again.every(100, send);
    return next<Kind>();
  }
  template <class Kind>
  bool hears_none(std::uint64_t ms = 200) {
    pool.run_for(ms);
    for (const auto& message : heard)
      if (std::holds_alternative<Kind>(message)) return false;
    return true;
  }
};

struct Guest : Peer {
  wire::Report report;
  Guest(Pool& of, const std::string& name, const std::string& role = "guest") : Peer(of, name, role) {
    report.name = name;
    report.key = self.public_key();
    report.address = "198.18.0.2:7000";
    report.boot = 1;
    report.cpus = 4;
    report.speed = 1;
    report.memory_total = report.memory_free = 1 << 30;
  }
  std::uint64_t tell() {
    ++report.sequence;
    socket->send(report);
    return next<wire::ReportTaken>().epoch;
  }
};

struct Deputy : Peer {
  explicit Deputy(Pool& of, const std::string& name = "ann", const std::string& role = "deputy")
      : Peer(of, name, role) {}
  wire::Place question() const {
    static std::uint64_t request = 100;
    wire::Place place;
    place.request = ++request;
    place.user = "whoever";
    place.home = "desk";
    place.home_key = self.public_key();
    place.command = "ffmpeg";
    place.never_home = true;
    return place;
  }
  wire::Placed place(const wire::Place& place) {
    socket->send(place);
    CHECK(next<wire::PlaceTaken>().request == place.request);
    auto placed = next<wire::Placed>();
    CHECK(placed.request == place.request);
    return placed;
  }
};

inline std::int64_t real_ms() {
  return std::int64_t{::time(nullptr)} * 1000;
}
inline wire::Verdict verdict(const wire::Placed& placed) {
  return static_cast<wire::Verdict>(placed.verdict);
}

}  // namespace ssi::test
