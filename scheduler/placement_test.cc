// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/placement.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

using namespace ssi;
using wire::Verdict;

namespace {

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

Machine guest(const std::string& name, std::uint32_t cpus = 4, double speed = 1) {
  Machine machine;
  machine.name = name;
  machine.cpus = cpus;
  machine.speed = speed;
  machine.memory_total = 8 * gib;
  machine.memory_free = 4 * gib;
  return machine;
}

Demand anywhere() {
  Demand demand;
  demand.never_home = true;
  return demand;
}

Decision place(const Demand& demand, const std::vector<Machine>& guests) {
  return placement::place(demand, std::nullopt, guests);
}

}  // namespace

TEST_CASE("an idle guest is chosen, and the reason can be read") {
  const auto decision = place({}, {guest("guest1")});
  CHECK(decision.verdict == Verdict::guest);
  CHECK(decision.guest == "guest1");
  CHECK(decision.reason == "guest1 is expected to end first (4.0 of 4 processors free)");
}

TEST_CASE("what makes a guest the better one") {
  const auto better = [](auto change) {
    auto worse = guest("a"), other = guest("b");
    change(worse, other);
    CHECK(place({}, {worse, other}).guest == "b");
    CHECK(place({}, {other, worse}).guest == "b");
  };
  better([](auto&, auto& b) { b.speed = 1.2; });
  better([](auto&, auto& b) { b.cpus = 8; });
  better([](auto& a, auto&) { a.busy = 2; });
  better([](auto& a, auto&) { a.steal = 0.5; });
  better([](auto& a, auto&) { a.reserved = 4; });
  better([](auto& a, auto&) { a.jobs = 1; });
  better([](auto& a, auto&) { a.silent = 3; });
  better([](auto& a, auto& b) { a.speed = 1.02, a.jobs = 1, b.jobs = 0; });
  better([](auto& a, auto& b) { a.busy = 4, a.speed = 1.5, b.busy = 1; });
}

TEST_CASE("equal guests: by name, whatever the order") {
  CHECK(place({}, {guest("guest2"), guest("guest1")}).guest == "guest1");
}

TEST_CASE("a faster guest that is full still wins when its share is larger") {
  auto slow = guest("slow", 1), fast = guest("fast", 16);
  fast.busy = 16;
  CHECK(placement::processors(fast, 0) == doctest::Approx(8));
  CHECK(place({}, {slow, fast}).guest == "fast");
}

TEST_CASE("processors that a job gets") {
  auto machine = guest("a", 4);
  CHECK(placement::processors(machine, 0) == doctest::Approx(4));
  CHECK(placement::processors(machine, 2) == doctest::Approx(2));
  CHECK(placement::processors(machine, 100) == doctest::Approx(4));
  machine.busy = 3;
  CHECK(placement::processors(machine, 1) == doctest::Approx(1));
  CHECK(placement::processors(machine, 4) == doctest::Approx(16.0 / 7));
  machine.busy = 0;
  machine.reserved = 4;
  CHECK(placement::processors(machine, 4) == doctest::Approx(2));
  machine.steal = 1;
  CHECK(placement::processors(machine, 4) == 0);
  CHECK(place({}, {machine}).guest == "a");  // full of strangers, but the only one
}

TEST_CASE("8 equal jobs spread evenly over equal guests, whatever they want") {
  for (const std::uint32_t cpus : {0U, 1U, 2U, 4U}) {
    std::vector<Machine> guests{guest("a"), guest("b", 4, 1.03), guest("c", 4, 0.99), guest("d")};
    for (int job = 0; job < 8; ++job) {
      Demand demand = anywhere();
      demand.cpus = cpus;
      const auto chosen = place(demand, guests).guest;
      for (auto& machine : guests)
        if (machine.name == chosen) ++machine.jobs, machine.reserved += cpus ? cpus : machine.cpus;
    }
    for (const auto& machine : guests) CHECK(machine.jobs == 2);
  }
}

TEST_CASE("jobs count where the load does not tell of them") {
  auto machine = guest("a", 2);
  machine.busy = 2;
  machine.jobs = 6;
  CHECK(placement::processors(machine, 2) == doctest::Approx(0.5));
  machine.busy = 0;  // they sleep, or started just now
  machine.jobs = 1;
  CHECK(placement::processors(machine, 2) == doctest::Approx(4.0 / 3));
  CHECK(placement::processors(machine, 1) == doctest::Approx(1));
}

// As on one real machine: all report the same load, and home's is what the deputy says.
TEST_CASE("a batch spreads over equal guests, and home takes its part") {
  std::vector<Machine> guests{guest("a", 2), guest("b", 2), guest("c", 2), guest("d", 2)};
  auto home = guest("home", 2);
  std::map<std::string, int> taken;
  for (int job = 0; job < 10; ++job) {
    const auto decision = placement::place({}, home, guests);
    ++taken[decision.guest];
    if (decision.verdict == Verdict::home) home.busy += 1;
    for (auto& machine : guests) {
      if (machine.name == decision.guest) ++machine.jobs;
      machine.busy = 2;
    }
  }
  CHECK(taken[""] >= 1);
  CHECK(taken[""] <= 2);
  for (const auto& machine : guests) {
    CHECK(machine.jobs >= 2);
    CHECK(machine.jobs <= 3);
  }
}

TEST_CASE("home is one of the machines, a part of it") {
  auto home = guest("home");
  CHECK(placement::place({}, home, {guest("a")}).verdict == Verdict::guest);  // equal: the guest
  Demand one;
  one.cpus = 1;
  CHECK(placement::place(one, home, {guest("a")}).verdict == Verdict::guest);
  auto busy = guest("a");
  busy.busy = 4;
  const auto decision = placement::place({}, home, {busy});
  CHECK(decision.verdict == Verdict::home);
  CHECK(decision.reason == "home is expected to end first (4.0 of 4 processors free; a: 0.0 of 4)");
  CHECK(placement::place(anywhere(), home, {busy}).verdict == Verdict::guest);
  home.busy = 4;
  CHECK(placement::place({}, home, {busy}).verdict == Verdict::guest);
  home.busy = 0;
  home.speed = 1.5;
  CHECK(placement::place({}, home, {guest("a")}).verdict == Verdict::home);
  home.speed = 1.2;  // the quarter that is its owner's
  CHECK(placement::place({}, home, {guest("a")}).verdict == Verdict::guest);
  home.cpus = 0;  // says nothing about itself
  CHECK(placement::place({}, home, {busy}).verdict == Verdict::guest);
}

TEST_CASE("a short job stays where it needs no start") {
  const auto home = guest("home");
  Demand brief;
  brief.cpus = 1;
  brief.cpu_seconds = 0.1;
  CHECK(placement::place(brief, home, {guest("a")}).verdict == Verdict::home);
  brief.cpu_seconds = 100;
  CHECK(placement::place(brief, home, {guest("a")}).verdict == Verdict::guest);
}

TEST_CASE("no guest is up") {
  auto gone = guest("a");
  gone.silent = 4;
  for (const auto& guests : {std::vector<Machine>{}, std::vector<Machine>{gone}}) {
    CHECK(placement::place({}, guest("home"), guests).verdict == Verdict::home);
    CHECK(placement::place({}, guest("home"), guests).reason == "no guest is up");
    CHECK(placement::place(anywhere(), guest("home"), guests).verdict == Verdict::refused);
    auto patient = anywhere();
    patient.may_wait = true;
    CHECK(place(patient, guests).verdict == Verdict::refused);
  }
}

TEST_CASE("memory") {
  Demand demand;
  demand.memory = 5 * gib;
  auto roomy = guest("b");
  roomy.memory_free = 6 * gib;
  roomy.busy = 4;
  CHECK(place(demand, {guest("a"), roomy}).guest == "b");
  CHECK(place(demand, {guest("a")}).verdict == Verdict::home);
  CHECK(place(demand, {guest("a")}).reason == "no guest has 5.0 GiB of memory free");
  demand.never_home = true;
  CHECK(place(demand, {guest("a")}).verdict == Verdict::refused);
  demand.may_wait = true;
  CHECK(place(demand, {guest("a")}).verdict == Verdict::wait);
  demand.memory = 9 * gib;  // never
  CHECK(place(demand, {guest("a")}).verdict == Verdict::refused);
}

TEST_CASE("this guest or none") {
  auto demand = anywhere();
  demand.guest = "b";
  auto other = guest("b");
  other.busy = 4;
  CHECK(place(demand, {guest("a"), other}).guest == "b");
  CHECK(place(demand, {guest("a"), other}).reason == "b was asked for (0.0 of 4 processors free)");
  CHECK(place(demand, {guest("a")}).verdict == Verdict::refused);
  CHECK(place(demand, {guest("a")}).reason == "no guest named b");
  other.silent = 5.2;
  CHECK(place(demand, {other}).reason == "b has been silent for 5 s");
  other.silent = 0;
  demand.never_home = false;  // named means named
  demand.memory = 5 * gib;
  CHECK(place(demand, {other}).verdict == Verdict::refused);
  CHECK(place(demand, {other}).reason == "b has 4.0 GiB of memory free, 5.0 GiB are asked for");
  demand.memory = 0;
  demand.may_wait = true;
  other.jobs = 1;
  CHECK(place(demand, {other}).verdict == Verdict::wait);
  other.jobs = 0;
  CHECK(place(demand, {other}).guest == "b");
}

TEST_CASE("--wait waits rather than share") {
  Demand demand = anywhere();
  demand.may_wait = true;
  auto a = guest("a"), b = guest("b");
  a.jobs = b.jobs = 1;
  a.busy = b.busy = 2.5;
  CHECK(place(demand, {a, b}).verdict == Verdict::wait);
  CHECK(place(demand, {a, b}).reason == "all guests are busy");
  b.busy = 2;
  CHECK(place(demand, {a, b}).guest == "b");
  demand.cpus = 1;
  b.busy = 4;
  CHECK(place(demand, {a, b}).guest == "a");
}

TEST_CASE("--wait waits for jobs, also for those that sleep, and for nothing else") {
  Demand demand = anywhere();
  demand.may_wait = true;
  auto one = guest("a");
  one.jobs = 2;
  CHECK(place(demand, {one}).guest == "a");
  one.jobs = 3;
  CHECK(place(demand, {one}).verdict == Verdict::wait);
  one.jobs = 0;
  one.busy = 4;  // other programs there, or all guests of a pool see their machine's load
  CHECK(place(demand, {one}).guest == "a");
  one.steal = 1;  // its host's
  CHECK(place(demand, {one}).guest == "a");
}

TEST_CASE("whatever the numbers, a decision is allowed") {
  std::mt19937 random(7);
  const auto real = [&](double most) { return std::uniform_real_distribution<double>(0, most)(random); };
  for (int round = 0; round < 20'000; ++round) {
    std::map<std::string, Machine> guests;
    for (auto count = random() % 5; count > 0; --count) {
      auto machine =
          guest("g" + std::to_string(count), static_cast<std::uint32_t>(1 + random() % 64), 0.01 + real(4));
      machine.silent = real(5);
      machine.busy = real(80);
      machine.steal = real(1);
      machine.reserved = real(100);
      machine.memory_free = random() % 3 * gib;
      guests[machine.name] = machine;
    }
    Demand demand;
    demand.never_home = random() % 2;
    demand.may_wait = random() % 3 == 0;
    demand.cpus = static_cast<std::uint32_t>(random() % 70);
    demand.memory = random() % 3 * gib;
    demand.cpu_seconds = random() % 2 ? real(1000) : 0;
    if (random() % 5 == 0) demand.guest = "g1";
    std::vector<Machine> list;
    for (const auto& [name, machine] : guests) list.push_back(machine);
    const auto decision = placement::place(demand, guest("home"), list);
    REQUIRE_FALSE(decision.reason.empty());
    REQUIRE(decision.guest.empty() == (decision.verdict != Verdict::guest));
    if (demand.never_home || !demand.guest.empty()) REQUIRE(decision.verdict != Verdict::home);
    if (decision.verdict == Verdict::wait) REQUIRE(demand.may_wait);
    if (decision.verdict != Verdict::guest) continue;
    const auto& chosen = guests.at(decision.guest);
    REQUIRE(chosen.silent < 3);
    REQUIRE(chosen.memory_free >= demand.memory);
    if (!demand.guest.empty()) REQUIRE(decision.guest == demand.guest);
    // More of the same that nobody else has: it stays the best.
    for (auto& machine : list)
      if (machine.name == chosen.name) machine.speed *= 2;
    if (demand.guest.empty()) REQUIRE(placement::place(demand, guest("home"), list).guest == chosen.name);
  }
}

TEST_CASE("a draining guest takes no new job; who waits, waits for it too") {
  auto one = guest("a"), other = guest("b");
  one.draining = true;
  other.busy = 4;
  CHECK(place({}, {one, other}).guest == "b");
  other.draining = true;
  CHECK(place({}, {one, other}).verdict == Verdict::home);
  CHECK(place({}, {one, other}).reason == "all guests are draining");
  CHECK(place(anywhere(), {one, other}).verdict == Verdict::refused);
  Demand named = anywhere();
  named.guest = "a";
  CHECK(place(named, {one}).verdict == Verdict::refused);
  CHECK(place(named, {one}).reason == "a is draining");
  auto waits = anywhere();
  waits.may_wait = named.may_wait = true;
  CHECK(place(waits, {one, other}).verdict == Verdict::wait);
  CHECK(place(named, {one}).verdict == Verdict::wait);
  one.draining = false;
  CHECK(place(waits, {one, other}).guest == "a");
  CHECK_FALSE(place(waits, {}).verdict == Verdict::wait);
}
