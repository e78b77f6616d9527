// SPDX-License-Identifier: LGPL-2.1-or-later
// The scheduler as its peers meet it.
#include "scheduler/service.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "common/ticket.h"
#include "scheduler/test_pool.h"

using namespace ssi;
using namespace ssi::test;

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
  forged.name = "guest1";  // as it may call itself: it counts for guest2 all the same
  rogue.socket->send(forged);
  rogue.next<wire::ReportTaken>();
  deputy.socket->send(wire::StatusRequest{4});
  const auto heard = deputy.next<wire::StatusReply>().guests;
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].name == "guest2");
  forged.key = deputy.self.public_key();
  CHECK(refused(deputy, forged) == "this key is a deputy's: it cannot report as a guest");
  auto odd = guest.report;
  odd.version = 9;
  CHECK(refused(guest, odd) == "version 9 is not spoken here, but 1");
  odd = guest.report;
  odd.address = "";
  CHECK(refused(guest, odd) == "the report names no address");
  deputy.socket->send(wire::StatusRequest{5});
  CHECK(deputy.next<wire::StatusReply>().guests.size() == 1);
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
  const auto question = deputy.question();
  deputy.socket->send(question);
  const auto refused = deputy.next<wire::Refused>();
  CHECK(refused.request == question.request);
  CHECK(refused.reason == "the scheduler refused our key " + fingerprint(deputy.self.public_key()) +
                              ": it is not admitted there");
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
  const auto taken = guest.next_after<wire::ReportTaken>([&] {
    ++guest.report.sequence;
    guest.socket->send(guest.report);
  });
  CHECK(taken.epoch > epoch);
  deputy.next_after<wire::StatusReply>([&] { deputy.socket->send(wire::StatusRequest{1}); });
  CHECK(deputy.place(deputy.question()).job > before.job);
}

TEST_CASE("a deputy sees the jobs that run, a guest does not") {
  Pool pool;
  Guest guest(pool, "guest1");
  Deputy deputy(pool);
  guest.report.jobs = {7};
  guest.report.used = {{7, "ann", "desk", "ffmpeg", 2'000'000, 4096, 3.5}};
  guest.tell();
  deputy.socket->send(wire::JobsRequest{5});
  const auto reply = deputy.next<wire::JobsReply>();
  CHECK(reply.request == 5);
  REQUIRE(reply.jobs.size() == 1);
  CHECK(reply.jobs[0].guest == "guest1");
  CHECK(reply.jobs[0].use.command == "ffmpeg");
  guest.socket->send(wire::JobsRequest{6});
  CHECK(guest.next<wire::Refused>().reason == "a guest does not see the pool's jobs");
}

TEST_CASE("an administrator drains a guest and resumes it; nobody else does") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.tell();
  Deputy deputy(pool), admin(pool, "root", "admin");
  deputy.socket->send(wire::Drain{7, "guest1", 0, 0});
  const auto refused = deputy.next<wire::Refused>();
  CHECK(refused.request == 7);
  CHECK(refused.reason.starts_with("only an administrator may"));
  CHECK(guest.hears_none<wire::Drain>());
  const auto placed = deputy.place(deputy.question());
  CHECK(verdict(placed) == wire::Verdict::guest);
  deputy.socket->send(wire::JobEnded{placed.job, 1});
  admin.socket->send(wire::Drain{8, "guest2", 0, 0});
  CHECK(admin.next<wire::Refused>().reason == "no guest named guest2 is up");

  admin.socket->send(wire::Drain{9, "guest1", 0, 1});
  CHECK(admin.next<wire::Drained>().request == 9);
  CHECK(guest.next<wire::Drain>().now == 1);
  auto question = deputy.question();
  CHECK(deputy.place(question).reason == "all guests are draining");
  guest.tell();  // it missed that: it is told again
  CHECK(guest.next<wire::Drain>().now == 1);
  guest.report.draining = 1;
  guest.tell();
  CHECK(guest.hears_none<wire::Drain>());

  auto waiting = deputy.question();
  waiting.may_wait = true;
  CHECK(verdict(deputy.place(waiting)) == wire::Verdict::wait);
  admin.socket->send(wire::Drain{10, "guest1", 1, 0});
  CHECK(admin.next<wire::Drained>().request == 10);
  CHECK(guest.next<wire::Drain>().resume == 1);
  CHECK(deputy.hears_none<wire::Placed>());
  guest.report.draining = 0;
  guest.tell();
  CHECK(deputy.next<wire::Placed>().guest == "guest1");
}

TEST_CASE(
    "who waits is told how many wait before it, and keeps its place at the next life of the scheduler") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.report.draining = 1;
  guest.tell();
  Deputy deputy(pool);
  const auto ask = [&](std::uint64_t waited_ms) {
    auto question = deputy.question();
    question.may_wait = true;
    question.waited_ms = waited_ms;
    const auto placed = deputy.place(question);
    CHECK(verdict(placed) == wire::Verdict::wait);
    return std::pair(question.request, placed.before);
  };
  const auto [first, none] = ask(0);
  const auto [second, one] = ask(0);
  CHECK(none == 0);
  CHECK(one == 1);
  const auto [elder, again_none] = ask(60'000);  // it waited elsewhere
  CHECK(again_none == 0);
  std::map<std::uint64_t, std::uint32_t> told;
  for (int i = 0; i < 2; ++i) {
    const auto queued = deputy.next<wire::Queued>();
    told[queued.request] = queued.before;
  }
  CHECK(told == std::map<std::uint64_t, std::uint32_t>{{first, 1}, {second, 2}});
  deputy.socket->send(wire::JobEnded{0, 0, elder});  // it does not wait any more
  for (int i = 0; i < 2; ++i) {
    const auto queued = deputy.next<wire::Queued>();
    told[queued.request] = queued.before;
  }
  CHECK(told == std::map<std::uint64_t, std::uint32_t>{{first, 0}, {second, 1}});
  guest.report.draining = 0;
  guest.tell();
  CHECK(deputy.next<wire::Placed>().request == first);
}

TEST_CASE("a young scheduler waits for guests on behalf of who cannot run at home") {
  Pool pool;
  Guest guest(pool, "guest1");
  Deputy deputy(pool);
  auto question = deputy.question();
  question.never_home = false;
  CHECK(verdict(deputy.place(question)) == wire::Verdict::home);
  const auto remote = deputy.question();
  deputy.socket->send(remote);
  CHECK(deputy.next<wire::PlaceTaken>().request == remote.request);
  CHECK(deputy.hears_none<wire::Placed>());
  guest.tell();
  const auto placed = deputy.next<wire::Placed>();
  CHECK(placed.request == remote.request);
  CHECK(verdict(placed) == wire::Verdict::guest);
  auto named = deputy.question();
  named.guest = "guest2";
  deputy.socket->send(named);
  const auto refused = deputy.next<wire::Placed>();  // when it is no longer young
  CHECK(refused.reason == "no guest named guest2");
}

TEST_CASE("what a home says that it holds at a guest that is not admitted is not kept") {
  Pool pool;
  Deputy deputy(pool);
  Guest guest(pool, "guest1", "");
  deputy.socket->send(wire::Holding{{{77, guest.self.public_key(), 4, 0}}});
  CHECK(deputy.hears_none<wire::Refused>());
  pool.admit("guest1", "guest", guest.self);
  guest.next_after<wire::ReportTaken>([&] { ++guest.report.sequence, guest.socket->send(guest.report); });
  auto question = deputy.question();
  question.may_wait = true;
  CHECK(verdict(deputy.place(question)) == wire::Verdict::guest);
}

TEST_CASE("what a home holds counts at a scheduler that did not place it") {
  Pool pool;
  Guest guest(pool, "guest1");
  guest.tell();
  Deputy deputy(pool);
  deputy.socket->send(wire::Holding{{{77, guest.self.public_key(), 4, 0}}});
  guest.socket->send(wire::Holding{{{78, guest.self.public_key(), 4, 0}}});
  CHECK(guest.next<wire::Refused>().reason == "a guest holds no jobs");
  auto question = deputy.question();
  question.may_wait = true;
  CHECK(verdict(deputy.place(question)) == wire::Verdict::wait);
  deputy.socket->send(wire::JobEnded{77, 1});
  CHECK(deputy.next<wire::Placed>().request == question.request);
}
