// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/registry.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace ssi;

namespace {

// A guest that reports, each time a little later.
struct Guest {
  wire::Report report;
  std::string route = "route";
  explicit Guest(const std::string& name, std::uint64_t boot = 1) {
    report.name = name;
    report.key = std::string(32, 'k');
    report.address = "198.18.0.2:7000";
    report.boot = boot;
    report.cpus = 4;
    report.speed = 1;
    report.memory_total = report.memory_free = 1000;
  }
  Result<Registry::Taken> to(Registry& registry, Registry::Time now) {
    ++report.sequence;
    return registry.take(report, route, now);
  }
};

Machine machine(const Registry& registry, Registry::Time now) {
  return registry.machines(now).at(0);
}

const std::string home(32, 'h');

}  // namespace

TEST_CASE("a guest is up while it reports, then gone, then forgotten") {
  Registry registry(100, 1);
  Guest guest("g");
  CHECK(guest.to(registry, 0)->came_up);
  CHECK_FALSE(guest.to(registry, 500)->came_up);
  CHECK(registry.status(1'500).at(0).state == "up");
  CHECK(registry.status(1'500).at(0).silent == 1);
  CHECK(machine(registry, 1'500).silent == 1);
  for (Registry::Time now = 600; now < 3'500; now += 200) CHECK(registry.sweep(now).empty());
  CHECK(registry.sweep(3'500) == std::vector<std::string>{"g"});
  CHECK(registry.sweep(3'700).empty());
  CHECK(registry.status(3'700).at(0).state == "gone");
  for (Registry::Time now = 3'900; now < 60'500; now += 200) registry.sweep(now);
  CHECK(registry.status(60'400).size() == 1);
  registry.sweep(60'600);
  CHECK(registry.status(60'600).empty());
}

TEST_CASE("the epoch rises with each life, and never falls") {
  Registry registry(100, 1);
  Guest guest("g");
  CHECK(guest.to(registry, 0)->epoch == 100);
  CHECK(guest.to(registry, 500)->epoch == 100);
  guest.report.boot = 2;
  CHECK(guest.to(registry, 600)->epoch == 101);
  for (Registry::Time now = 600; now < 4'600; now += 200) registry.sweep(now);
  const auto back = guest.to(registry, 4'600);  // it was declared gone: fenced
  CHECK(back->epoch == 102);
  CHECK(back->came_up);
  for (Registry::Time now = 4'600; now < 70'000; now += 200) registry.sweep(now);
  CHECK(registry.status(70'000).empty());
  CHECK(guest.to(registry, 70'000)->epoch == 103);
}

TEST_CASE("nobody is gone because the scheduler slept") {
  Registry registry(100, 1);
  Guest guest("g");
  guest.to(registry, 0);
  registry.sweep(100);
  CHECK(registry.sweep(3'600'000).empty());
  CHECK(machine(registry, 3'600'000).silent < 3);
  CHECK(guest.to(registry, 3'600'100)->epoch == 100);
}

TEST_CASE("nobody is gone because the scheduler could not hear") {
  Registry registry(100, 1);
  Guest("g").to(registry, 0);
  registry.sweep(200);
  for (Registry::Time now = 400; now <= 10'000; now += 200) CHECK(registry.sweep(now, true).empty());
  CHECK(machine(registry, 10'000).silent < 3);
  for (Registry::Time now = 10'200; now < 12'800; now += 200) CHECK(registry.sweep(now).empty());
  CHECK(registry.sweep(12'800) == std::vector<std::string>{"g"});
}

TEST_CASE("the elder of two agents with one key is not heard") {
  Registry registry(100, 1);
  Guest elder("g", 1), younger("g", 2);
  CHECK(elder.to(registry, 0));
  CHECK(younger.to(registry, 10)->epoch == 101);
  const auto refused = elder.to(registry, 20);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text() == "two guests have the key of g: the newer one counts");
  CHECK(younger.to(registry, 30)->epoch == 101);
}

TEST_CASE("a report that was overtaken says nothing") {
  Registry registry(100, 1);
  Guest guest("g");
  guest.to(registry, 0);
  auto late = guest.report;
  guest.report.busy = 3;
  guest.to(registry, 500);
  late.busy = 1;
  CHECK(registry.take(late, guest.route, 600));
  CHECK(machine(registry, 600).busy == 3);
}

TEST_CASE("absurd claims are clamped, to the claimant's loss") {
  Registry registry(100, 1);
  Guest guest("g");
  guest.report.cpus = 4'000'000'000;
  guest.report.speed = std::numeric_limits<double>::infinity();
  guest.report.busy = -5;
  guest.report.steal = 7;
  guest.report.memory_free = ~std::uint64_t{0};
  guest.to(registry, 0);
  auto seen = machine(registry, 0);
  CHECK(seen.cpus == 4096);
  CHECK(seen.speed == 100);
  CHECK(seen.busy == 0);
  CHECK(seen.steal == 1);
  CHECK(seen.memory_free == 1000);
  guest.report.cpus = 0;
  guest.report.speed = guest.report.busy = guest.report.steal = std::nan("");
  guest.to(registry, 1);
  seen = machine(registry, 1);
  CHECK(seen.cpus == 1);
  CHECK(seen.speed == 0.01);
  CHECK(seen.busy == 1);
  CHECK(seen.steal == 1);
}

TEST_CASE("a promise counts until reports show the job for a second") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.to(registry, 0);
  const auto promise = registry.promise("g", home, 2, 300, 0);
  CHECK(promise.job == 7);
  CHECK(promise.epoch == 100);
  CHECK(promise.address == "198.18.0.2:7000");
  CHECK(promise.guest_key == guest.report.key);
  CHECK(machine(registry, 0).reserved == 2);
  CHECK(machine(registry, 0).memory_free == 700);
  CHECK(machine(registry, 0).jobs == 1);
  guest.to(registry, 2'000);  // does not list it yet
  CHECK(machine(registry, 2'000).reserved == 2);
  guest.report.jobs = {7};
  guest.to(registry, 2'500);
  CHECK(machine(registry, 2'500).reserved == 2);
  CHECK(machine(registry, 2'500).jobs == 1);
  guest.to(registry, 3'500);
  CHECK(machine(registry, 3'500).reserved == 0);
  CHECK(machine(registry, 3'500).jobs == 1);
  guest.report.jobs = {};
  guest.to(registry, 4'000);
  CHECK(machine(registry, 4'000).jobs == 0);
}

TEST_CASE("a promise of all processors is of all there are") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.to(registry, 0);
  registry.promise("g", home, 0, 0, 0);
  registry.promise("g", home, 64, 5'000, 0);
  CHECK(machine(registry, 0).reserved == 8);
  CHECK(machine(registry, 0).memory_free == 0);
}

TEST_CASE("an ended job frees at once, and only its home can say so") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.to(registry, 0);
  const auto job = registry.promise("g", home, 2, 0, 0).job;
  CHECK_FALSE(registry.end(job, std::string(32, 'x')));
  CHECK(machine(registry, 0).reserved == 2);
  CHECK(registry.end(job, home));
  CHECK(machine(registry, 0).reserved == 0);
  CHECK(machine(registry, 0).jobs == 0);
  CHECK_FALSE(registry.end(job, home));
  CHECK_FALSE(registry.end(999, home));
}

TEST_CASE("a job that was never started does not count for ever") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.to(registry, 0);
  registry.promise("g", home, 2, 0, 0);
  guest.to(registry, 34'000);
  CHECK(machine(registry, 34'000).reserved == 2);
  guest.to(registry, 35'000);
  CHECK(machine(registry, 35'000).reserved == 0);
}

TEST_CASE("promises end with the guest's life") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.to(registry, 0);
  registry.promise("g", home, 2, 0, 0);
  guest.report.boot = 2;
  guest.to(registry, 10);
  CHECK(machine(registry, 10).reserved == 0);
}

TEST_CASE("one boot that reports from two places is a copy: the newer one counts, until it is gone") {
  Registry registry(100, 1);
  Guest guest("g");
  CHECK(guest.to(registry, 0));
  guest.route = "the copy";
  CHECK(guest.to(registry, 500));
  guest.route = "route";
  const auto refused = guest.to(registry, 1'000);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text() == "two guests have the key of g: the newer one counts");
  // A connection that was lost and made anew is no copy: the old one says nothing any more.
  guest.route = "the copy, connected again";
  CHECK(guest.to(registry, 1'500));
  for (Registry::Time now = 1'500; now < 5'000; now += 200) registry.sweep(now);
  guest.route = "route";
  CHECK(guest.to(registry, 5'000));
}

TEST_CASE("a promise leads to its guest's connection, for its own home only") {
  Registry registry(100, 1);
  Guest guest("g");
  guest.report.dials_out = 1;
  guest.to(registry, 0);
  const auto promise = registry.promise("g", home, 1, 0, 100);
  CHECK(promise.dials_out);
  CHECK(registry.route_of(promise.job, home) == "route");
  CHECK(registry.route_of(promise.job, std::string(32, 'x')).empty());
  CHECK(registry.route_of(promise.job + 1, home).empty());
  registry.forget("g");
  CHECK(registry.route_of(promise.job, home).empty());
  CHECK(registry.machines(200).empty());
  CHECK(guest.to(registry, 300)->epoch == 101);
}

TEST_CASE("draining counts at once, resuming when the guest says so; and it is said until the guest obeys") {
  Registry registry(100, 1);
  Guest guest("g");
  CHECK_FALSE(registry.drain({0, "g", 0, 0}));
  guest.to(registry, 0);
  CHECK(*registry.drain({0, "g", 0, 0}) == "route");
  CHECK(machine(registry, 0).draining);
  CHECK(registry.status(0).at(0).state == "draining");
  CHECK(guest.to(registry, 500)->order);  // it has not heard it
  CHECK(machine(registry, 500).draining);
  guest.report.draining = 1;
  CHECK_FALSE(guest.to(registry, 1'000)->order);
  CHECK(machine(registry, 1'000).draining);
  Registry restarted(200, 1000);
  guest.to(restarted, 1'000);
  CHECK(machine(restarted, 1'000).draining);
  CHECK(registry.drain({0, "g", 1, 0}));
  CHECK(machine(registry, 1'000).draining);
  CHECK(guest.to(registry, 1'500)->order->resume == 1);
  guest.report.draining = 0;
  CHECK_FALSE(guest.to(registry, 2'000)->order);
  CHECK_FALSE(machine(registry, 2'000).draining);
  registry.drain({0, "g", 0, 0});
  guest.report.boot = 2;  // an agent that was started anew takes jobs
  CHECK_FALSE(guest.to(registry, 2'500)->order);
  CHECK_FALSE(machine(registry, 2'500).draining);
  guest.to(registry, 2'600);
  for (Registry::Time now = 2'600; now < 6'000; now += 200) registry.sweep(now);
  CHECK_FALSE(registry.drain({0, "g", 0, 0}));
}

TEST_CASE("what is promised and not begun is told beside the jobs that run") {
  Registry registry(100, 7);
  Guest guest("g");
  guest.report.jobs = {3};
  guest.to(registry, 0);
  registry.promise("g", home, 1, 0, 0);
  registry.promise("g", home, 1, 0, 0);
  CHECK(registry.status(0).at(0).promised == 2);
  guest.report.jobs = {3, 7};
  guest.to(registry, 100);
  CHECK(registry.status(100).at(0).promised == 1);
}

TEST_CASE("a restarted scheduler goes on with the guest's epoch, several agree on the highest") {
  Registry first(100, 1), second(5'000, 1), restarted(9'000, 1);
  Guest guest("g");
  guest.report.epoch = guest.to(first, 0)->epoch;
  CHECK(guest.report.epoch == 100);
  CHECK(guest.to(second, 0)->epoch == 100);
  for (Registry::Time now = 0; now < 4'000; now += 200) first.sweep(now);
  guest.report.epoch = guest.to(first, 4'000)->epoch;  // fenced by the one, so by the other
  CHECK(guest.report.epoch == 101);
  CHECK(guest.to(second, 4'000)->epoch == 101);
  CHECK(guest.to(restarted, 4'000)->epoch == 101);
  for (Registry::Time now = 4'000; now < 70'000; now += 200) first.sweep(now);
  CHECK(guest.to(first, 70'000)->epoch == 102);  // forgotten, and fenced all the same
  guest.report.epoch = ~std::uint64_t{0};        // says nothing
  CHECK(guest.to(first, 70'100)->epoch == 102);
}

TEST_CASE("a restarted scheduler hears from homes what is promised, before or after the guest reports") {
  const std::vector<wire::HeldJob> held{{7, std::string(32, 'k'), 2, 300}, {8, std::string(32, 'k'), 2, 300}};
  Registry before(100, 1'000), after(100, 1'000);
  Guest guest("g");
  guest.report.jobs = {8};
  before.hold(held, home, 0);
  CHECK(before.machines(0).empty());
  guest.to(before, 100);
  CHECK(machine(before, 100).reserved == 4);
  CHECK(machine(before, 100).jobs == 2);
  guest.to(before, 1'100);
  CHECK(machine(before, 1'100).reserved == 2);  // the report shows the other one
  guest.to(after, 0);
  after.hold(held, home, 10);
  CHECK(machine(after, 10).reserved == 2);
  CHECK(machine(after, 10).memory_free == 700);
  CHECK(machine(after, 10).jobs == 2);
  // Another home that says the same speaks for itself only, whoever came first.
  const std::string other(32, 'x');
  after.hold({held[0]}, other, 20);
  CHECK(machine(after, 20).reserved == 4);
  CHECK(after.end(7, other));
  CHECK_FALSE(after.end(7, other));
  CHECK(after.route_of(7, other).empty());
  CHECK(after.route_of(7, home) == "route");
  CHECK(after.end(7, home));
  CHECK(machine(after, 20).reserved == 0);
  // One that ended before its guest has reported.
  Registry later(100, 1'000);
  later.hold(held, home, 0);
  CHECK(later.end(7, home));
  guest.to(later, 10);
  CHECK(machine(later, 10).reserved == 2);
  // Of a guest that never comes they are forgotten, as all that is promised.
  Registry alone(100, 1'000);
  alone.hold(held, home, 0);
  for (Registry::Time now = 0; now <= 35'000; now += 200) alone.sweep(now);
  guest.to(alone, 35'000);
  CHECK(machine(alone, 35'000).reserved == 0);
}

TEST_CASE("the jobs that run are those of the last reports") {
  Registry registry(100, 1);
  Guest guest("g"), other("h");
  guest.report.jobs = {7, 8};
  guest.report.used = {{7, "u", "desk", "ffmpeg", 2'000'000, 4096, 3.5},
                       {9, "u", "desk", "ended", 0, 0, 0},  // not in its list of jobs
                       {8, std::string(1000, 'x'), "", "", 0, 0, std::numeric_limits<double>::quiet_NaN()}};
  guest.to(registry, 0);
  other.to(registry, 0);
  const auto jobs = registry.jobs(100);
  REQUIRE(jobs.size() == 2);
  CHECK(jobs[0].guest == "g");
  CHECK(jobs[0].use.job == 7);
  CHECK(jobs[0].use.command == "ffmpeg");
  CHECK(jobs[0].use.seconds == 3.5);
  CHECK(jobs[1].use.user.size() == 255);
  CHECK(jobs[1].use.seconds == 0);
  CHECK(registry.jobs(Registry::gone_ms).empty());
  Registry restarted(200, 1000);  // soft state: the next report brings it all back
  CHECK(restarted.jobs(0).empty());
  guest.to(restarted, 500);
  CHECK(restarted.jobs(500).size() == 2);
}

TEST_CASE("an answer about jobs never outgrows a message") {
  Registry registry(100, 1);
  for (const char* name : {"g", "h"}) {
    Guest guest(name);
    for (std::uint64_t job = 1; job <= 900; ++job) {
      guest.report.jobs.push_back(job);
      guest.report.used.push_back(
          {job, std::string(255, 'u'), std::string(255, 'h'), std::string(255, 'c'), 0, 0, 0});
    }
    guest.to(registry, 0);
  }
  CHECK(registry.jobs(0).size() == Registry::max_jobs);
  CHECK(wire::encode(wire::JobsReply{1, registry.jobs(0)}).size() < wire::max_control);
}
