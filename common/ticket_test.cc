// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/ticket.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

constexpr std::int64_t now = 1'700'000'000'000;

Ticket ticket() {
  Ticket made;
  made.user = "ann";
  made.home_key = std::string(32, 'h');
  made.guest_key = std::string(32, 'g');
  made.job = 7;
  made.epoch = 3;
  made.issued_ms = now;
  made.expires_ms = now + Ticket::lifetime_ms;
  made.nonce = std::string(16, 'n');
  made.cpus = 4;
  made.memory = 1 << 20;
  return made;
}

std::string error_of(std::string_view sealed, std::string_view key, std::int64_t at = now) {
  const auto opened = Ticket::open(sealed, key, at);
  return opened ? "opened" : opened.error().text();
}

}  // namespace

TEST_CASE("what was sealed is what is opened") {
  const auto scheduler = Identity::generate();
  const auto opened = Ticket::open(ticket().seal(scheduler), scheduler.public_key(), now + 1000);
  REQUIRE_MESSAGE(opened, opened.error().text());
  CHECK(opened->user == "ann");
  CHECK(opened->home_key == std::string(32, 'h'));
  CHECK(opened->guest_key == std::string(32, 'g'));
  CHECK(opened->job == 7);
  CHECK(opened->epoch == 3);
  CHECK(opened->cpus == 4);
  CHECK(opened->memory == 1 << 20);
}

TEST_CASE("no other key, no changed byte, no cut or longer ticket") {
  const auto scheduler = Identity::generate(), other = Identity::generate();
  const auto sealed = ticket().seal(scheduler);
  const auto unsigned_ =
      "ticket: not signed by the scheduler with key " + fingerprint(scheduler.public_key());
  CHECK(error_of(ticket().seal(other), scheduler.public_key()) == unsigned_);
  CHECK(error_of(sealed + "x", scheduler.public_key()) == unsigned_);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CHECK(error_of(changed, scheduler.public_key()) == unsigned_);
    CHECK(error_of(sealed.substr(0, i), scheduler.public_key()) != "opened");
  }
}

TEST_CASE("a ticket has its time") {
  const auto scheduler = Identity::generate();
  const auto sealed = ticket().seal(scheduler);
  CHECK(error_of(sealed, scheduler.public_key(), now + 30'000) == "opened");
  CHECK(error_of(sealed, scheduler.public_key(), now + 30'001) == "ticket: expired 1 s ago");
  CHECK(error_of(sealed, scheduler.public_key(), now - 4'000) == "opened");
  CHECK(error_of(sealed, scheduler.public_key(), now - 9'000) ==
        "ticket: issued 9 s in the future: the clocks of guest and scheduler differ");
}

TEST_CASE("a signed ticket that makes no sense") {
  const auto scheduler = Identity::generate();
  const auto refused = [&](auto change) {
    auto odd = ticket();
    change(odd);
    CHECK(error_of(odd.seal(scheduler), scheduler.public_key()) == "ticket: malformed");
  };
  refused([](Ticket& t) { t.home_key.pop_back(); });
  refused([](Ticket& t) { t.guest_key.clear(); });
  refused([](Ticket& t) { t.nonce.clear(); });
  refused([](Ticket& t) { t.expires_ms += 1; });
  const std::string fields = "not msgpack";
  CHECK(error_of(fields + scheduler.sign("ssi ticket 1\n" + fields), scheduler.public_key()) ==
        "ticket: malformed");
}
