// SPDX-License-Identifier: LGPL-2.1-or-later
// How guests join, as they and an administrator meet the scheduler.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "scheduler/allowance.h"
#include "scheduler/test_pool.h"

using namespace ssi;
using namespace ssi::test;

namespace {

// A machine that nobody has admitted.
struct Stranger : Guest {
  wire::Join wish;
  explicit Stranger(Pool& of, const std::string& name = "guest", const std::string& token = "")
      : Guest(of, name, "") {
    wish.name = name;
    wish.key = self.public_key();
    wish.uuid = "0c1dbf2e-7c4e-4f7a-9d7e-5f2f0a9c1b11";
    wish.token = token;
  }
  wire::Joined join() {
    socket->send(wish);
    return next<wire::Joined>();
  }
  std::string print() const { return fingerprint(self.public_key()); }
};

struct Admin : Deputy {
  explicit Admin(Pool& of) : Deputy(of, "root", "admin") {}
  std::string token(std::uint32_t seconds = 60) {
    socket->send(wire::TokenRequest{1, seconds});
    return next<wire::TokenReply>().token;
  }
  std::string admit(const std::string& who, bool revoke = false) {
    socket->send(wire::Admit{2, who, revoke});
    return next<wire::Admitted>().name;
  }
  std::map<std::string, wire::GuestEntry> guests() {
    socket->send(wire::GuestsRequest{3});
    std::map<std::string, wire::GuestEntry> found;
    for (auto& guest : next<wire::GuestsReply>().guests) found.emplace(guest.name + " " + guest.state, guest);
    return found;
  }
};

wire::Joining state(const wire::Joined& joined) {
  return static_cast<wire::Joining>(joined.state);
}

}  // namespace

TEST_CASE("a guest with a token joins at once, a second one under a name of its own") {
  Pool pool;
  Admin admin(pool);
  const auto token = admin.token();
  Stranger first(pool, "guest", token), second(pool, "guest", token);
  const auto joined = first.join();
  CHECK(state(joined) == wire::Joining::admitted);
  CHECK(joined.name == "guest");
  CHECK(second.join().name == "guest-2");
  first.tell();
  second.tell();
  admin.socket->send(wire::StatusRequest{1});
  CHECK(admin.next<wire::StatusReply>().guests.size() == 2);
  auto question = admin.question();
  question.guest = "guest-2";
  CHECK(admin.place(question).guest_key == second.self.public_key());
  first.wish.token.clear();  // once in, it needs none
  CHECK(state(first.join()) == wire::Joining::admitted);
}

TEST_CASE("without a token it waits until an administrator approves, and hears it at once") {
  Pool pool;
  Admin admin(pool);
  Stranger guest(pool);
  const auto joined = guest.join();
  CHECK(state(joined) == wire::Joining::pending);
  CHECK(joined.reason == "waits for 'ssi guests approve " + guest.print() + "'");
  // Until then it is nobody.
  guest.socket->send(guest.report);
  CHECK(guest.next<wire::Refused>().reason ==
        "the scheduler refused our key " + guest.print() + ": it is not admitted there");
  const auto waiting = admin.guests();
  REQUIRE(waiting.contains("guest pending"));
  CHECK(waiting.at("guest pending").uuid == guest.wish.uuid);
  CHECK(admin.admit(guest.print()) == "guest");
  CHECK(state(guest.next<wire::Joined>()) == wire::Joining::admitted);
  guest.tell();
  CHECK(admin.guests().contains("guest up"));
}

TEST_CASE("wrong and expired tokens, other versions, copied keys: refused, and listed with the reason") {
  Pool pool;
  Admin admin(pool);
  Stranger guest(pool, "guest", std::string(32, '0'));
  CHECK(guest.join().reason == "the token is not one of this scheduler's");
  CHECK(admin.guests().at("guest refused").reason == "the token is not one of this scheduler's");
  guest.wish.token = admin.token(1);
  pool.run_for(2'100);
  const auto expired = guest.join();
  CHECK(state(expired) == wire::Joining::refused);
  CHECK(expired.reason.starts_with("the token has expired"));
  guest.wish.version = 7;
  CHECK(guest.join().reason ==
        "version 7 is not spoken here, but 1: build its image anew with 'ssi guest build'");
  guest.wish.version = wire::version;
  guest.wish.token = admin.token();
  CHECK(state(guest.join()) == wire::Joining::admitted);
  guest.wish.uuid = "ffffffff-7c4e-4f7a-9d7e-5f2f0a9c1b11";
  CHECK(guest.join().reason.starts_with("this key was made in the Xen domain 0c1dbf2e-"));
  Stranger thief(pool);
  thief.wish.key = guest.self.public_key();
  CHECK(thief.join().reason == "the key that it names is not the connection's");
}

TEST_CASE("a revoked guest gets no job, says so, and only an administrator takes it back") {
  Pool pool;
  Admin admin(pool);
  const auto token = admin.token();
  Stranger guest(pool, "guest", token);
  guest.join();
  guest.tell();
  CHECK(admin.admit("guest", true) == "guest");
  auto question = admin.question();
  CHECK(admin.place(question).reason == "no guest is up");
  guest.socket->send(guest.report);
  guest.next<wire::Refused>();
  const auto refused = guest.join();
  CHECK(state(refused) == wire::Joining::refused);
  CHECK(refused.reason == "guest was revoked; 'ssi guests approve " + guest.print() + "' admits it again");
  CHECK(admin.guests().contains("guest refused"));
  CHECK(admin.admit(guest.print()) == "guest");
  CHECK(state(guest.next<wire::Joined>()) == wire::Joining::admitted);
  CHECK(guest.tell() > 0);
}

TEST_CASE("only an administrator admits, revokes and makes tokens; nobody approves who did not ask") {
  Pool pool;
  Admin admin(pool);
  Deputy deputy(pool);
  Stranger guest(pool);
  guest.join();
  const std::vector<wire::Control> asked{wire::Admit{7, guest.print(), 0}, wire::Admit{7, "guest", 1},
                                         wire::TokenRequest{7, 60}};
  for (const auto& message : asked) {
    deputy.socket->send(message);
    const auto refused = deputy.next<wire::Refused>();
    CHECK(refused.request == 7);
    CHECK(refused.reason.starts_with("only an administrator may"));
  }
  for (const auto* who : {"nobody", "0123456789abcdef"}) {
    admin.socket->send(wire::Admit{8, who, 0});
    CHECK(admin.next<wire::Refused>().reason ==
          "no guest '" + std::string(who) + "' waits; 'ssi guests list' shows all");
  }
}

TEST_CASE("two guests with one key: the elder is refused, told, and listed") {
  Pool pool;
  Admin admin(pool);
  Stranger elder(pool, "guest", admin.token());
  elder.join();
  elder.tell();
  auto twin = elder.report;
  twin.boot = 99;
  twin.sequence = 1;
  elder.socket->send(twin);
  elder.next<wire::ReportTaken>();
  elder.report.sequence = 50;
  elder.socket->send(elder.report);
  CHECK(elder.next<wire::Refused>().reason == "two guests have the key of guest: the newer one counts");
  CHECK(admin.guests().contains("guest up"));
  CHECK(admin.guests().at("guest refused").reason ==
        "two guests have the key of guest: the newer one counts");
}

TEST_CASE("a stranger's long messages are not even read, and nobody is approved by the name that he chose") {
  Pool pool;
  Admin admin(pool);
  Stranger guest(pool);
  guest.wish.token = std::string(5'000, 't');
  guest.socket->send(guest.wish);
  CHECK(guest.hears_none<wire::Joined>());
  guest.wish.token.clear();
  CHECK(state(guest.join()) == wire::Joining::pending);
  admin.socket->send(wire::Admit{8, "guest", 0});
  CHECK(admin.next<wire::Refused>().reason == "no guest 'guest' waits; 'ssi guests list' shows all");
}

TEST_CASE("so many strangers a second, and those who are known notice nothing") {
  Pool pool;
  Guest guest(pool, "guest1");
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<Stranger>> crowd;
  for (int i = 0; i < 80; ++i) crowd.push_back(std::make_unique<Stranger>(pool));
  const auto up = [&] {
    return std::ranges::count_if(
        crowd, [](const auto& one) { return one->socket->link() == ControlClient::Link::up; });
  };
  CHECK(pool.run_until([&] { return up() >= 50; }));
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
  CHECK(static_cast<double>(up()) <= 51 + 20 * passed.count());
  guest.tell();
  Guest late(pool, "guest2");
  late.tell();
}

TEST_CASE("an allowance is so much a second, and saved up to so much") {
  Allowance allowance(10, 3);
  for (int i = 0; i < 3; ++i) CHECK(allowance.take(1'000'000));
  CHECK_FALSE(allowance.take(1'000'000));
  CHECK_FALSE(allowance.take(1'000'050));
  CHECK(allowance.take(1'000'110));
  CHECK_FALSE(allowance.take(1'000'110));
  for (int i = 0; i < 3; ++i) CHECK(allowance.take(9'000'000));
  CHECK_FALSE(allowance.take(9'000'000));
}

TEST_CASE("a guest that dials out is asked to, by the home whose job is placed there") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.report.address.clear();
  guest.report.dials_out = 1;
  guest.tell();
  Deputy deputy(pool), other(pool, "bob");
  auto question = deputy.question();
  CHECK(deputy.place(question).reason ==
        "guest1 dials out and cannot reach this home: see 'listen' in [home] of config.toml");
  question.guest = "guest1";
  CHECK(verdict(deputy.place(question)) == wire::Verdict::refused);
  question.can_be_called = 1;
  const auto placed = deputy.place(question);
  REQUIRE(verdict(placed) == wire::Verdict::guest);
  CHECK(placed.dials_out);
  other.socket->send(wire::Callback{placed.job, "198.18.0.1:1", "r", {}});
  other.next<wire::Refused>();
  CHECK(guest.hears_none<wire::Dial>());
  deputy.socket->send(wire::Callback{placed.job, "198.18.0.1:7702", std::string(16, 'r'), {}});
  const auto dial = guest.next<wire::Dial>();
  CHECK(dial.address == "198.18.0.1:7702");
  CHECK(dial.rendezvous == std::string(16, 'r'));
}
