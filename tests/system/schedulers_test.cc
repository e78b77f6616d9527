// SPDX-License-Identifier: LGPL-2.1-or-later
// A home's list of schedulers, with real ones that die and come back.
#include "deputy/schedulers.h"

#include <doctest/doctest.h>

#include "common/ticket.h"
#include "scheduler/test_pool.h"

using namespace ssi;
using namespace ssi::test;

namespace {

// A second scheduler on the loop of the first one's pool.
struct Spare {
  Pool& pool;
  std::string address = free_address();
  Identity self = Identity::generate();
  std::unique_ptr<Service> service;
  explicit Spare(Pool& of) : pool(of) { start(); }
  void start() {
    auto made =
        Service::start(pool.loop, address, self, *Admission::open(pool.directory), Tokens(pool.directory));
    REQUIRE(made);
    service = std::move(*made);
  }
};

// A guest that reports to both.
struct Guest2 {
  Guest first;
  wire::Report report;
  std::unique_ptr<ControlClient> second;
  std::uint64_t second_has = 0;  // which epoch
  Timer again;
  Guest2(Pool& pool, const Spare& spare) : first(pool, "guest1"), report(first.report), again(pool.loop) {
    second =
        std::move(*ControlClient::connect(pool.loop, spare.address, spare.self.public_key(), first.self,
                                          {[this](wire::Control&& message) {
                                             if (const auto* taken = std::get_if<wire::ReportTaken>(&message)) {
                                               second_has = taken->epoch;
                                               report.epoch = std::max(report.epoch, taken->epoch);
                                             }
                                           },
                                           {}}));
    again.every(100, [this] {
      ++report.sequence;
      first.socket->send(report);
      second->send(report);
    });
  }
  // Both have the guest, with one epoch.
  bool agreed() const {
    if (first.heard.empty()) return false;
    const auto* taken = std::get_if<wire::ReportTaken>(&first.heard.back());
    return taken && taken->epoch == second_has && second_has != 0;
  }
};

struct World {
  Pool pool;
  Spare spare{pool};
  Guest2 guest{pool, spare};
  Identity home = Identity::generate();
  std::unique_ptr<Schedulers> schedulers;
  std::uint32_t before = 99;

  World() {
    pool.admit("ann", "deputy", home);
    auto made = Schedulers::connect(
        pool.loop, {{pool.address, pool.self.public_key()}, {spare.address, spare.self.public_key()}}, home);
    REQUIRE(made);
    schedulers = std::move(*made);
    REQUIRE(pool.run_until([&] { return guest.agreed(); }));
    pool.run_for(500);  // the deputy's own links
  }
  wire::Place question(bool may_wait = false) const {
    wire::Place place;
    place.home_key = home.public_key();
    place.command = "ffmpeg";
    place.never_home = true;
    place.may_wait = may_wait;
    return place;
  }
  std::uint64_t ask(std::optional<Result<wire::Placed>>& into, bool may_wait = false) {
    return schedulers->place(
        question(may_wait), [&into](Result<wire::Placed> answer) { into = std::move(answer); },
        [this](std::uint32_t ahead) { before = ahead; });
  }
  struct Timed {
    wire::Placed placed;
    std::int64_t ms;
  };
  Timed place() {
    std::optional<Result<wire::Placed>> answer;
    const auto began = uv_hrtime();
    ask(answer);
    REQUIRE(pool.run_until([&] { return answer.has_value(); }));
    REQUIRE_MESSAGE(*answer, answer->error().text());
    return {**answer, static_cast<std::int64_t>((uv_hrtime() - began) / 1'000'000)};
  }
  bool by_first(const wire::Placed& placed) const {
    return Ticket::open(placed.ticket, pool.self.public_key(), real_ms()).has_value();
  }
};

}  // namespace

TEST_CASE(
    "the second takes over from a dead first, with other numbers and the same epoch, and gives it back") {
  World world;
  const auto before = world.place().placed;
  CHECK(world.by_first(before));
  world.pool.service.reset();
  const auto after = world.place();
  CHECK(after.ms < 400);
  CHECK_FALSE(world.by_first(after.placed));
  CHECK(after.placed.epoch == before.epoch);
  CHECK(std::max(before.job, after.placed.job) - std::min(before.job, after.placed.job) > 100);
  CHECK(world.place().ms < 200);
  world.pool.start();
  bool is_back = false;
  for (int tries = 0; tries < 20 && !is_back; ++tries) {
    world.pool.run_for(300);
    is_back = world.by_first(world.place().placed);
  }
  CHECK(is_back);
}

TEST_CASE("nobody is left: an error, in time") {
  World world;
  world.place();
  world.pool.service.reset();
  world.spare.service.reset();
  world.pool.run_for(100);
  for (int i = 0; i < 3; ++i) {
    std::optional<Result<wire::Placed>> answer;
    const auto began = uv_hrtime();
    world.ask(answer);
    REQUIRE(world.pool.run_until([&] { return answer.has_value(); }));
    CHECK_FALSE(*answer);
    CHECK((uv_hrtime() - began) / 1'000'000 < 500);
  }
}

TEST_CASE("who waits waits on, at the second and at one that comes back") {
  World world;
  world.guest.report.draining = 1;
  world.pool.run_for(300);
  std::optional<Result<wire::Placed>> first, second;
  world.ask(first, true);
  world.pool.run_for(300);
  CHECK(world.before == 0);
  world.ask(second, true);
  world.pool.run_for(300);
  CHECK(world.before == 1);
  world.pool.service.reset();
  world.pool.run_for(500);
  CHECK_FALSE(first);
  world.before = 99;
  world.spare.service.reset();
  world.pool.run_for(1'000);
  CHECK_FALSE(first);
  world.pool.start();
  REQUIRE(world.pool.run_until([&] { return world.before != 99; }));
  world.guest.report.draining = 0;
  REQUIRE(world.pool.run_until([&] { return first.has_value(); }));
  REQUIRE(*first);
  CHECK(world.by_first(**first));
}

TEST_CASE(
    "what is placed and has not begun counts at the other one, and at the next life; its end is told to "
    "all") {
  World world;
  const auto job = world.place().placed.job;
  const auto promised = [&](const std::string& address, const Identity& self) {
    std::optional<wire::StatusReply> reply;
    auto client =
        std::move(*ControlClient::connect(world.pool.loop, address, self.public_key(), world.home,
                                          {[&](wire::Control&& message) {
                                             if (auto* status = std::get_if<wire::StatusReply>(&message))
                                               reply = *status;
                                           },
                                           {}}));
    client->send(wire::StatusRequest{1});
    REQUIRE(world.pool.run_until([&] { return reply.has_value(); }));
    return reply->guests.empty() ? 99 : reply->guests[0].promised;
  };
  world.pool.service.reset();
  const auto other = world.place().placed.job;
  CHECK(promised(world.spare.address, world.spare.self) == 2);
  world.pool.start();
  world.pool.run_for(1'500);
  CHECK(promised(world.pool.address, world.pool.self) == 2);
  world.schedulers->ended(job, 1);
  world.schedulers->ended(other, 1);
  world.pool.run_for(200);
  CHECK(promised(world.pool.address, world.pool.self) == 0);
  CHECK(promised(world.spare.address, world.spare.self) == 0);
}
