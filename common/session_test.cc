// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/session.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "common/pump.h"

using namespace ssi;

namespace {

std::time_t slept = 0, stopped = 0;  // seconds: only CLOCK_BOOTTIME knows of the former

}  // namespace

// The program's own counts before libc's.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const auto done = static_cast<int>(::syscall(SYS_clock_gettime, clock, now));
  if (clock == CLOCK_BOOTTIME) now->tv_sec += slept + stopped;
  if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) now->tv_sec += stopped;
  return done;
}

namespace {

// Two ends of a real TLS session over a socket pair, in one loop.
struct Pair {
  explicit Pair(std::string pinned = "the guest's") {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    if (pinned == "the guest's") pinned = guest_key.public_key();
    first.reset(::dup(ends[0]));
    home = std::make_unique<Session>(loop, Fd(ends[0]), TlsStream::Side::home, home_key, pinned,
                                     events(home_side));
    guest = std::make_unique<Session>(loop, Fd(ends[1]), TlsStream::Side::guest, guest_key, "",
                                      events(guest_side));
    limit.once(10'000, [this] { loop.stop(); });
  }

  struct Side {
    bool ready = false;
    std::string closed;
    std::function<void(const Session::Incoming&)> frame;
  };

  Session::Events events(Side& side) {
    return {[&side] { side.ready = true; },
            [&side](const Session::Incoming& in) {
              if (side.frame) side.frame(in);
            },
            [this, &side](const Error& why) {
              side.closed = why.text();
              loop.stop();
            }};
  }

  // Runs the loop until `done` holds.
  void until(const std::function<bool()>& done) {
    Timer poll(loop);
    poll.every(1, [&] {
      if (done()) loop.stop();
    });
    loop.run();
    CHECK(done());
  }

  Loop loop;
  Identity home_key = Identity::generate(), guest_key = Identity::generate();
  Side home_side, guest_side;
  Timer limit{loop};
  Fd first;  // the connection, to cut it
  std::unique_ptr<Session> home, guest;
};

}  // namespace

TEST_CASE("a request is answered, and each side knows the other's key") {
  Pair pair;
  pair.guest_side.frame = [&](const Session::Incoming& in) {
    const auto message = wire::decode_frame(in.kind, in.meta);
    REQUIRE(message);
    const auto& lookup = std::get<wire::Lookup>(*message);
    wire::Entry entry;
    entry.node = lookup.parent + 1;
    pair.guest->reply(in.id, entry, "body of " + lookup.name);
  };
  std::string got;
  std::uint64_t node = 0;
  pair.home->call(wire::Lookup{41, "name", {}}, {}, [&](Result<wire::Entry> entry, std::string_view body) {
    REQUIRE(entry);
    node = entry->node;
    got = body;
  });
  pair.until([&] { return node != 0; });
  CHECK(node == 42);
  CHECK(got == "body of name");
  CHECK(pair.guest->peer_key() == pair.home_key.public_key());
  CHECK(pair.home->peer_key() == pair.guest_key.public_key());
}

TEST_CASE("an errno arrives as that errno") {
  Pair pair;
  pair.guest_side.frame = [&](const Session::Incoming& in) { pair.guest->fail(in.id, ENOSPC); };
  std::error_code code;
  pair.home->call(wire::Getattr{1, 0}, {},
                  [&](Result<wire::Attr> attr, std::string_view) { code = attr.error().code; });
  pair.until([&] { return static_cast<bool>(code); });
  CHECK(code == std::errc::no_space_on_device);
}

TEST_CASE("a peer with another key than the pinned one is refused") {
  Pair pair(Identity::generate().public_key());
  pair.until([&] { return !pair.home_side.closed.empty(); });
  CHECK(pair.home_side.closed.find("the peer has key " + fingerprint(pair.guest_key.public_key())) !=
        std::string::npos);
  CHECK_FALSE(pair.guest_side.ready);
}

TEST_CASE("a refused peer does no harm to another session of the process") {
  Pair good;
  good.until([&] { return good.home_side.ready && good.guest_side.ready; });
  {
    Pair bad(Identity::generate().public_key());
    bad.until([&] { return !bad.home_side.closed.empty(); });
  }
  int arrived = 0;
  good.home_side.frame = [&](const Session::Incoming&) { ++arrived; };
  good.guest->post(wire::Kill{1});
  good.until([&] { return arrived == 1 || !good.home_side.closed.empty(); });
  CHECK(good.home_side.closed == "");
  CHECK(good.guest_side.closed == "");
}

TEST_CASE("a slow answer at each end is not a dead link") {
  Pair pair;  // nobody answers: an fsync of a sleeping disk here, a job that is slow to start there
  pair.until([&] { return pair.home_side.ready && pair.guest_side.ready; });
  pair.home->call(wire::Getattr{1, 0}, {}, [](const Result<wire::Attr>&, std::string_view) {});
  pair.guest->call(wire::Getattr{1, 0}, {}, [](const Result<wire::Attr>&, std::string_view) {});
  const auto began = uv_hrtime();
  pair.limit.once(30'000, [&] { pair.loop.stop(); });
  const auto longer_than_silence = [&] { return uv_hrtime() - began > 18'000'000'000; };
  pair.until([&] { return longer_than_silence() || !pair.home_side.closed.empty(); });
  CHECK(pair.home_side.closed == "");
  CHECK(pair.guest_side.closed == "");
}

TEST_CASE("small frames overtake bulk, and bulk keeps its order") {
  Pair pair;
  std::vector<std::size_t> order;  // body sizes as they arrive
  pair.guest_side.frame = [&](const Session::Incoming& in) { order.push_back(in.body.size()); };
  const std::string large(wire::max_body, 'x');
  pair.until([&] { return pair.home_side.ready && pair.guest_side.ready; });
  for (std::size_t i = 0; i < 200; ++i)
    pair.home->post(wire::Data{1, 1}, std::string_view(large).substr(i), Session::Lane::bulk);
  pair.home->post(wire::Data{1, 1}, "small");
  pair.until([&] { return order.size() == 201; });
  std::size_t small_at = 0, expected = wire::max_body;
  for (std::size_t i = 0; i < order.size(); ++i)
    if (order[i] == 5)
      small_at = i;
    else
      CHECK(order[i] == expected--);
  CHECK(small_at < 20);
}

TEST_CASE("a lost link fails what waits for a reply") {
  Pair pair;
  pair.guest_side.frame = [&](const Session::Incoming&) { pair.loop.defer([&] { pair.guest.reset(); }); };
  std::error_code code;
  pair.home->call(wire::Getattr{1, 0}, {},
                  [&](Result<wire::Attr> attr, std::string_view) { code = attr.error().code; });
  pair.until([&] { return !pair.home_side.closed.empty(); });
  CHECK(code == std::errc::not_connected);
}

TEST_CASE("bytes that are not TLS close the session, not the process") {
  Loop loop;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd peer(ends[1]);
  const auto key = Identity::generate();
  std::string closed;
  Session session(loop, Fd(ends[0]), TlsStream::Side::guest, key, "",
                  {[] {}, [](const Session::Incoming&) {},
                   [&](const Error& why) {
                     closed = why.text();
                     loop.stop();
                   }});
  REQUIRE(::write(peer.get(), "GET / HTTP/1.0\r\n\r\n", 18) == 18);
  Timer limit(loop);
  limit.once(5'000, [&] { loop.stop(); });
  loop.run();
  CHECK_FALSE(closed.empty());
}

namespace {

// A pair whose connection can be cut, and is made anew when home asks.
struct Enduring : Pair {
  explicit Enduring(std::uint64_t grace_ms = 20'000, std::string guest_id = "0123456789abcdef") {
    until([&] { return home_side.ready && guest_side.ready; });
    guest->endure({std::move(guest_id), grace_ms, nullptr, [this](const Error&) { ++broken; }, [this](auto) { ++resumed; }});
    home->endure({"0123456789abcdef", grace_ms, [this] { reconnect(); }, [this](const Error&) { ++broken; }, [this](auto) { ++resumed; }});
  }

  void reconnect() {
    if (!reachable) return home->not_connected({std::make_error_code(std::errc::timed_out), "connect"});
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    watched.reset(::dup(ends[0]));
    guest->resume(Fd(ends[1]));
    home->resume(Fd(ends[0]));
  }

  void cut() { ::shutdown(watched ? watched.get() : first.get(), SHUT_RDWR); }

  Fd watched;
  bool reachable = true;
  int broken = 0, resumed = 0;
};

}  // namespace

TEST_CASE("a session goes on over another connection: nothing is lost, nothing comes twice") {
  Enduring pair;
  std::vector<std::uint64_t> at_guest, at_home;  // the numbers in the frames as they arrive
  std::size_t answered = 0, asked = 0, posted = 0;
  std::uint64_t answers_sum = 0;
  const std::string bulk(100'000, 'b');
  pair.guest_side.frame = [&](const Session::Incoming& in) {
    if (in.kind == wire::kind_of<wire::Getattr>()) {
      const auto number = wire::unpack<wire::Getattr>(in.meta)->node;
      at_guest.push_back(number);
      wire::Attr attr;
      attr.ino = number;
      pair.guest->reply(in.id, attr);
    } else {
      at_guest.push_back(wire::unpack<wire::Gone>(in.meta)->job);
    }
  };
  pair.home_side.frame = [&](const Session::Incoming& in) {
    CHECK(in.body.size() == bulk.size());
    at_home.push_back(wire::unpack<wire::Gone>(in.meta)->job);
  };
  std::minstd_rand random(7);
  int cuts = 0;
  Timer talk(pair.loop), cutter(pair.loop);
  pair.limit.once(60'000, [&] { pair.loop.stop(); });
  talk.every(1, [&] {
    for (int i = 0; i < 5 && asked < 2000; ++i) {
      pair.home->call(wire::Getattr{++asked, 0}, {}, [&](Result<wire::Attr> attr, std::string_view) {
        REQUIRE(attr);
        ++answered;
        answers_sum += attr->ino;
      });
      if (posted < 600) pair.guest->post(wire::Gone{++posted}, bulk, Session::Lane::bulk);
    }
  });
  cutter.every(7, [&] {
    if (cuts < 40 && pair.home->connected() && random() % 2) ++cuts, pair.cut();
  });
  pair.until([&] { return (answered == 2000 && at_home.size() == 600 && cuts == 40) || !pair.home_side.closed.empty(); });
  CHECK(pair.home_side.closed == "");
  CHECK(pair.guest_side.closed == "");
  CHECK(answers_sum == 2000ULL * 2001 / 2);
  const auto in_order = [](const std::vector<std::uint64_t>& numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (numbers[i] != i + 1) return false;
    return true;
  };
  CHECK(in_order(at_guest));
  CHECK(in_order(at_home));
  CHECK(pair.resumed >= 2 * 35);
}

TEST_CASE("after the grace a session without a connection is over, at both ends") {
  Enduring pair(1'500);
  std::error_code code;
  pair.reachable = false;
  pair.cut();
  pair.home->call(wire::Getattr{1, 0}, {},
                  [&](Result<wire::Attr> attr, std::string_view) { code = attr.error().code; });
  pair.until([&] { return !pair.home_side.closed.empty(); });
  CHECK(code == std::errc::not_connected);
  CHECK(pair.broken >= 1);
  CHECK(pair.home_side.closed.starts_with("no connection for "));
  if (pair.guest_side.closed.empty()) pair.until([&] { return !pair.guest_side.closed.empty(); });
  CHECK(pair.resumed == 0);
}

TEST_CASE("a machine that slept has its grace once more, and not twice") {
  Enduring pair(3'000);
  pair.reachable = false;
  pair.cut();
  Timer sleeper(pair.loop);
  sleeper.every(1'500, [] { slept += 60; });
  const auto began = uv_hrtime();
  pair.until([&] { return !pair.home_side.closed.empty(); });
  const auto seconds = static_cast<double>(uv_hrtime() - began) / 1e9;
  CHECK(seconds > 4.7);  // looked at each 2 s: slept before the first one, which counts from there
  CHECK(seconds < 7);
}

TEST_CASE("who was stopped does not take the other for dead") {
  Pair pair;
  pair.until([&] { return pair.home_side.ready && pair.guest_side.ready; });
  pair.limit.once(60'000, [&] { pair.loop.stop(); });
  Timer stop(pair.loop), end(pair.loop);
  stop.once(100, [] { stopped += 20; });
  end.once(23'000, [&] { pair.loop.stop(); });
  pair.loop.run();
  CHECK(pair.home_side.closed == "");
  CHECK(pair.guest_side.closed == "");
}

TEST_CASE("a guest that does not know the session has lost it") {
  Enduring pair(20'000, "another session!");
  pair.cut();
  pair.until([&] { return !pair.home_side.closed.empty(); });
  CHECK(pair.resumed == 0);
}

TEST_CASE("a session that is ended at one end is over at once at the other") {
  Enduring pair;
  pair.loop.defer([&] { pair.home.reset(); });
  pair.until([&] { return !pair.guest_side.closed.empty(); });
  CHECK(pair.guest_side.closed == "the peer ended the session: Connection reset by peer");
  CHECK(pair.broken == 0);
}

TEST_CASE("somebody who connects with another key does not disturb a session") {
  Enduring pair;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  pair.guest->resume(Fd(ends[1]));
  const auto stranger_key = Identity::generate();
  std::string refused;
  Session stranger(pair.loop, Fd(ends[0]), TlsStream::Side::home, stranger_key, "",
                   {[] {}, [](const Session::Incoming&) {}, [&](const Error& why) { refused = why.text(); }});
  pair.until([&] { return !refused.empty(); });
  int arrived = 0;
  pair.home_side.frame = [&](const Session::Incoming&) { ++arrived; };
  pair.guest->post(wire::Kill{1});
  pair.until([&] { return arrived == 1; });
  CHECK(pair.broken == 0);
}

namespace {

// A guest that asks `count` times for 100 kB, by requests of `size` bytes, and acknowledges nothing.
struct Greedy {
  Greedy(std::uint64_t count, std::size_t size) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    for (std::uint64_t i = 1; i <= count; ++i)
      said += frame_of(wire::kind_of<wire::Getattr>(), static_cast<std::uint32_t>(i), 0, wire::pack(wire::Getattr{i, 0}), std::string(size, 'a'));
    home = std::make_unique<Session>(loop, Fd(ends[0]), TlsStream::Side::home, home_key, guest_key.public_key(),
                                     Session::Events{[] {},
                                                     [this](const Session::Incoming& in) {
                                                       ++answered;
                                                       home->reply(in.id, wire::Attr{}, body);
                                                     },
                                                     [this](const Error& why) { closed = why.text(); }});
    guest = std::make_unique<Connection>(
        loop, Fd(ends[1]), TlsStream::Side::guest, guest_key, "", "",
        Connection::Events{[this] { guest->pause(!reads), guest->flush_soon(); }, [](const auto&) { return true; },
                           [this] { return std::string_view(said).substr(at, 50'000); },
                           [this](std::size_t bytes) { at += bytes; }, [](const Error&) {}});
  }
  void run(std::uint64_t ms) {
    Timer limit(loop);
    limit.once(ms, [this] { loop.stop(); });
    loop.run();
  }

  Loop loop;
  Identity home_key = Identity::generate(), guest_key = Identity::generate();
  std::string said, body = std::string(100'000, 'b'), closed;
  std::size_t at = 0;
  std::uint64_t answered = 0;
  bool reads = false;
  std::unique_ptr<Session> home;
  std::unique_ptr<Connection> guest;
};

}  // namespace

TEST_CASE("who asks and does not read the answers is not heard until he does") {
  Greedy pair(1'000, 20'000);
  pair.run(2'000);
  CHECK(pair.answered > 100);
  CHECK(pair.answered < 300);  // 16 MiB, and what had been read before that
  pair.reads = true;
  pair.guest->pause(false);
  for (int i = 0; i < 50 && pair.answered < 1'000; ++i) pair.run(200);
  CHECK(pair.answered == 1'000);
  CHECK(pair.closed == "");
}

TEST_CASE("who acknowledges nothing is given up before his answers fill the memory") {
  Greedy pair(3'500, 0);
  pair.reads = true;
  for (int i = 0; i < 100 && pair.closed.empty() && pair.answered < 3'500; ++i) pair.run(200);
  CHECK(pair.closed.starts_with("the peer acknowledges nothing"));
  CHECK(pair.answered < 3'500);
}

TEST_CASE("an older connection of home's, that comes late, is not taken") {
  Enduring pair;
  pair.cut();
  pair.until([&] { return pair.resumed == 2; });
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  pair.guest->resume(Fd(ends[1]));
  std::string out = frame_of(wire::Resume{"0123456789abcdef", 1, 0});
  bool lost = false;
  std::unique_ptr<Connection> late;
  late = std::make_unique<Connection>(
      pair.loop, Fd(ends[0]), TlsStream::Side::home, pair.home_key, pair.guest_key.public_key(), "",
      Connection::Events{[&] { late->flush_soon(); }, [](const auto&) { return true; }, [&] { return std::string_view(out); },
                         [&](std::size_t bytes) { out.erase(0, bytes); }, [&](const Error&) { lost = true; }});
  pair.until([&] { return lost; });
  CHECK(pair.resumed == 2);
  CHECK(pair.home->connected());
}

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  Fd read, write;
};

StreamFd adopt(Fd fd, StreamFd::Use use) {
  auto stream = StreamFd::adopt(std::move(fd), use);
  REQUIRE(stream);
  return std::move(*stream);
}

}  // namespace

TEST_CASE("a pump carries a stream byte for byte, in bounded memory, to its end") {
  Pair pair;
  Pipe from, to;
  const int from_fd = from.write.get(), to_fd = to.read.get();
  ::fcntl(from_fd, F_SETFL, O_NONBLOCK);
  ::fcntl(to_fd, F_SETFL, O_NONBLOCK);
  pair.until([&] { return pair.home_side.ready && pair.guest_side.ready; });
  Source source(pair.loop, *pair.home, 7, 1, adopt(std::move(from.read), StreamFd::Use::read));
  Sink sink(pair.loop, *pair.guest, 7, 1, adopt(std::move(to.write), StreamFd::Use::write));
  source.begin();
  std::size_t most_queued = 0;
  pair.guest_side.frame = [&](const Session::Incoming& in) {
    if (in.kind == wire::kind_of<wire::End>()) return sink.end();
    CHECK(sink.push(in.body));
    most_queued = std::max(most_queued, sink.queued());
  };
  pair.home_side.frame = [&](const Session::Incoming& in) {
    source.credit(wire::unpack<wire::Credit>(in.meta)->bytes);
  };
  constexpr std::size_t total = 4 << 20;
  std::size_t written = 0, read = 0;
  bool ended = false, wrong = false;
  const auto byte_at = [](std::size_t at) { return static_cast<char>(at * 31 + at / 4096); };
  Timer slow_reader(pair.loop);  // reads at most 8 KiB a millisecond, so that the window fills
  slow_reader.every(1, [&] {
    char buffer[64 << 10];
    while (from.write && written < total) {
      const auto size = std::min(sizeof buffer, total - written);
      for (std::size_t i = 0; i < size; ++i) buffer[i] = byte_at(written + i);
      const auto done = ::write(from_fd, buffer, size);
      if (done <= 0) break;
      written += static_cast<std::size_t>(done);
    }
    if (written == total) from.write.reset();
    const auto got = ::read(to_fd, buffer, 8 << 10);
    for (ssize_t i = 0; i < got; ++i) wrong = wrong || buffer[i] != byte_at(read++);
    ended = got == 0;
  });
  pair.until([&] { return ended; });
  CHECK(read == total);
  CHECK_FALSE(wrong);
  CHECK(most_queued > (512 << 10));  // the reader was slow indeed
  CHECK(most_queued <= wire::Data::window);
}

TEST_CASE("when nobody reads any more the writer hears of it") {
  Pair pair;
  Pipe from, to;
  pair.until([&] { return pair.home_side.ready && pair.guest_side.ready; });
  Sink sink(pair.loop, *pair.guest, 7, 1, adopt(std::move(to.write), StreamFd::Use::write));
  Source source(pair.loop, *pair.home, 7, 1, adopt(std::move(from.read), StreamFd::Use::read));
  pair.guest_side.frame = [&](const Session::Incoming& in) {
    if (in.kind == wire::kind_of<wire::Data>()) CHECK(sink.push(in.body));
  };
  source.begin();
  bool told = false;
  pair.home_side.frame = [&](const Session::Incoming& in) {
    if (in.kind != wire::kind_of<wire::End>()) return;
    told = true;
    source.stop();
  };
  to.read.reset();
  REQUIRE(::write(from.write.get(), "x", 1) == 1);
  pair.until([&] { return told; });
  CHECK(source.ended());
}
