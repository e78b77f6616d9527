// SPDX-License-Identifier: LGPL-2.1-or-later
// The scheduler as its peers meet it: real sockets, real CURVE, real files.
#include "scheduler/service.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/fd.h"
#include "common/ticket.h"

using namespace ssi;

namespace {

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

struct Pool {
  std::string directory, address = free_address();
  Identity self = Identity::generate();
  Loop loop;
  std::unique_ptr<Service> service;

  Pool() {
    char name[] = "/tmp/ssi-service-test.XXXXXX";
    REQUIRE(::mkdtemp(name));
    directory = name;
    start();
  }
  ~Pool() { std::filesystem::remove_all(directory); }
  void start() {
    service.reset();
    auto made = Service::start(loop, address, self, *Admission::open(directory));
    REQUIRE_MESSAGE(made, made.error().text());
    service = std::move(*made);
  }
  void admit(const std::string& name, const char* role, const Identity& who) const {
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

  Peer(Pool& of, const std::string& name, const char* role) : pool(of) {
    pool.admit(name, role, self);
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
  Guest(Pool& of, const std::string& name) : Peer(of, name, "guest") {
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
  explicit Deputy(Pool& of, const std::string& name = "ann") : Peer(of, name, "deputy") {}
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

std::int64_t real_ms() {
  return std::int64_t{::time(nullptr)} * 1000;
}
wire::Verdict verdict(const wire::Placed& placed) {
  return static_cast<wire::Verdict>(placed.verdict);
}

}  // namespace

TEST_CASE("a job is placed with a ticket that the guest can check") {
  Pool pool;
  Guest guest(pool, "guest1");
  Deputy deputy(pool);
  CHECK(verdict(deputy.place(deputy.question())) == wire::Verdict::refused);
  const auto epoch = guest.tell();
  CHECK(epoch > 1'700'000'000'000);
  auto question = deputy.question();
  question.cpus = 3;
  const auto placed = deputy.place(question);
  REQUIRE(verdict(placed) == wire::Verdict::guest);
  CHECK(placed.guest == "guest1");
  CHECK(placed.address == guest.report.address);
  CHECK(placed.guest_key == guest.self.public_key());
  CHECK(placed.epoch == epoch);
  const auto ticket = Ticket::open(placed.ticket, pool.self.public_key(), real_ms());
  REQUIRE_MESSAGE(ticket, ticket.error().text());
  CHECK(ticket->user == "ann");  // as admitted, whatever was claimed
  CHECK(ticket->home_key == deputy.self.public_key());
  CHECK(ticket->guest_key == guest.self.public_key());
  CHECK(ticket->job == placed.job);
  CHECK(ticket->epoch == epoch);
  CHECK(ticket->cpus == 3);
  const auto second = deputy.place(question);
  CHECK(second.job == placed.job + 1);
  CHECK(Ticket::open(second.ticket, pool.self.public_key(), real_ms())->nonce != ticket->nonce);
}

TEST_CASE("8 jobs at once spread over 4 guests before any report shows them") {
  Pool pool;
  Guest a(pool, "a"), b(pool, "b"), c(pool, "c"), d(pool, "d");
  for (auto* guest : {&a, &b, &c, &d}) guest->tell();
  Deputy deputy(pool);
  std::map<std::string, int> jobs;
  for (int i = 0; i < 8; ++i) ++jobs[deputy.place(deputy.question()).guest];
  CHECK(jobs == std::map<std::string, int>{{"a", 2}, {"b", 2}, {"c", 2}, {"d", 2}});
}

TEST_CASE("who waits is served when a job has ended, in order") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.tell();
  Deputy deputy(pool);
  const auto running = deputy.place(deputy.question());
  auto first = deputy.question(), second = deputy.question();
  first.may_wait = second.may_wait = true;
  CHECK(verdict(deputy.place(first)) == wire::Verdict::wait);
  CHECK(verdict(deputy.place(second)) == wire::Verdict::wait);
  CHECK(deputy.hears_none<wire::Placed>());
  // Not of another home's doing.
  Deputy stranger(pool, "bob");
  stranger.socket->send(wire::JobEnded{running.job, 1});
  CHECK(deputy.hears_none<wire::Placed>());
  deputy.socket->send(wire::JobEnded{running.job, 1});
  const auto served = deputy.next<wire::Placed>();
  CHECK(served.request == first.request);
  CHECK(verdict(served) == wire::Verdict::guest);
  CHECK(deputy.hears_none<wire::Placed>());
  deputy.socket->send(wire::JobEnded{served.job, 1});
  CHECK(deputy.next<wire::Placed>().request == second.request);
}

TEST_CASE("a report counts only for the guest whose key sent it") {
  Pool pool;
  Guest guest(pool, "guest1"), rogue(pool, "guest2");
  Deputy deputy(pool);
  const auto refused = [&](Peer& who, wire::Report report) {
    who.socket->send(report);
    return who.next<wire::Refused>().reason;
  };
  auto forged = guest.report;
  CHECK(refused(rogue, forged) == "the report's key is not the connection's");
  forged.key = rogue.self.public_key();
  CHECK(refused(rogue, forged) == "this key belongs to guest guest2");
  forged.key = deputy.self.public_key();
  CHECK(refused(deputy, forged) == "this key is a deputy's: it cannot report as a guest");
  auto odd = guest.report;
  odd.version = 9;
  CHECK(refused(guest, odd) == "version 9 is not spoken here");
  odd = guest.report;
  odd.address = "";
  CHECK(refused(guest, odd) == "the report names no address");
  deputy.socket->send(wire::StatusRequest{5});
  CHECK(deputy.next<wire::StatusReply>().guests.empty());
}

TEST_CASE("a guest places no jobs, and a deputy none for another home") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.tell();
  Deputy deputy(pool), other(pool, "bob");
  auto question = deputy.question();
  guest.socket->send(question);
  CHECK(guest.next<wire::Refused>().request == question.request);
  other.socket->send(question);
  CHECK(other.next<wire::Refused>().reason == "the request's home key is not the connection's");
  deputy.socket->send(wire::StatusReply{});
  CHECK(deputy.next<wire::Refused>().reason == "a scheduler does not take this message");
}

TEST_CASE("a revoked deputy places no more") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.tell();
  Deputy deputy(pool);
  deputy.place(deputy.question());
  std::filesystem::remove(pool.directory + "/ann.pub");
  deputy.socket->send(deputy.question());
  CHECK(deputy.next<wire::Refused>().reason == "the scheduler no longer admits this key");
  CHECK(deputy.hears_none<wire::Placed>());
}

TEST_CASE("a silent guest is gone, gets nothing, and comes back fenced") {
  Pool pool;
  Guest guest(pool, "guest1");
  const auto epoch = guest.tell();
  Deputy deputy(pool);
  pool.run_for(3'300);
  deputy.socket->send(wire::StatusRequest{1});
  const auto status = deputy.next<wire::StatusReply>();
  CHECK(status.request == 1);
  REQUIRE(status.guests.size() == 1);
  CHECK(status.guests[0].state == "gone");
  CHECK(status.guests[0].silent >= 3);
  auto question = deputy.question();
  question.guest = "guest1";
  CHECK(deputy.place(question).reason == "guest1 has been silent for 3 s");
  CHECK(guest.tell() == epoch + 1);
  CHECK(verdict(deputy.place(question)) == wire::Verdict::guest);
}

TEST_CASE("a restarted scheduler knows its guests by their next report, and reuses no id") {
  Pool pool;
  Guest guest(pool, "guest1");
  const auto epoch = guest.tell();
  Deputy deputy(pool);
  const auto before = deputy.place(deputy.question());
  pool.run_for(1'100);
  pool.start();
  REQUIRE(pool.run_until([&] { return guest.socket->link() == ControlClient::Link::up; }));
  pool.run_for(300);
  guest.heard.clear();
  CHECK(guest.tell() > epoch);
  CHECK(deputy.place(deputy.question()).job > before.job);
}
