// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/peeked_input.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "common/pump.h"

using namespace ssi;

namespace {

struct Ends {
  Fd read, write;
};

Ends pipe_ends() {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

Ends socket_ends() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

void put(const Fd& to, const std::string& bytes) {
  REQUIRE(::write(to.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

std::string get(const Fd& from, std::size_t size) {
  std::string bytes(size, '\0');
  const auto got = ::read(from.get(), bytes.data(), size);
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

// What a read() yields: bytes, "" at the end, "EAGAIN".
std::string next(PeekedInput& input, std::size_t size = 100) {
  std::string bytes(size, '\0');
  const auto got = input.read(bytes);
  if (!got)
    return got.error().code == std::errc::resource_unavailable_try_again ? "EAGAIN" : got.error().text();
  bytes.resize(*got);
  return bytes;
}

bool shows(const PeekedInput& input) {
  pollfd state{input.fd(), POLLIN, 0};
  return ::poll(&state, 1, 0) == 1;
}

}  // namespace

TEST_CASE("peeked: what the job did not take is there for who reads on") {
  for (auto make : {pipe_ends, socket_ends}) {
    auto ends = make();
    PeekedInput input(ends.read.duplicate());
    put(ends.write, "one two three");
    CHECK(next(input, 4) == "one ");
    CHECK(next(input) == "two three");
    CHECK(next(input) == "EAGAIN");
    put(ends.write, " four");
    CHECK(next(input) == " four");
    input.taken(4);
    input.taken(3);     // an older word
    input.taken(1000);  // no more than was seen
    put(ends.write, "rest");
    CHECK(next(input) == "rest");
    CHECK(get(ends.read, 100) == "rest");
  }
}

TEST_CASE("peeked: taken step by step, it goes on behind what was seen") {
  for (auto make : {pipe_ends, socket_ends}) {
    auto ends = make();
    PeekedInput input(ends.read.duplicate());
    put(ends.write, "abcdef");
    CHECK(next(input, 3) == "abc");
    input.taken(2);
    CHECK(next(input, 1) == "d");
    input.taken(4);
    CHECK(next(input) == "ef");
    CHECK(get(ends.read, 100) == "ef");
  }
}

TEST_CASE("peeked: the end comes behind all that was written, and takes nothing") {
  for (auto make : {pipe_ends, socket_ends}) {
    auto ends = make();
    PeekedInput input(ends.read.duplicate());
    put(ends.write, "last");
    ends.write.reset();
    CHECK(next(input) == "last");
    CHECK(next(input).empty());
    CHECK(get(ends.read, 100) == "last");
  }
}

TEST_CASE("peeked: shows as readable for news only") {
  for (auto make : {pipe_ends, socket_ends}) {
    auto ends = make();
    PeekedInput input(ends.read.duplicate());
    CHECK_FALSE(shows(input));
    put(ends.write, "a");
    CHECK(shows(input));
    CHECK(next(input) == "a");
    CHECK(next(input) == "EAGAIN");
    int shown = 0;  // though "a" still is there; now and then it asks to be asked
    for (pollfd state{input.fd(), POLLIN, 0}; ::poll(&state, 1, 30) == 1; ++shown)
      CHECK(next(input) == "EAGAIN");
    CHECK(shown < 10);
    put(ends.write, "b");
    CHECK(shows(input));
    CHECK(next(input) == "b");
    CHECK(next(input) == "EAGAIN");
    ends.write.reset();
    CHECK(shows(input));
    CHECK(next(input).empty());
  }
}

TEST_CASE("peeked: the descriptor's flags stay, and its writer gets SIGPIPE's error when nobody is left") {
  auto ends = pipe_ends();
  const int flags = ::fcntl(ends.read.get(), F_GETFL);
  {
    PeekedInput input(ends.read.duplicate());
    CHECK(next(input) == "EAGAIN");
    CHECK(::fcntl(ends.read.get(), F_GETFL) == flags);
    ends.read.reset();
    put(ends.write, "x");
  }
  ::signal(SIGPIPE, SIG_IGN);
  CHECK(::write(ends.write.get(), "y", 1) == -1);
  CHECK(errno == EPIPE);
}

TEST_CASE("peeked: a large stream, taken late and in odd pieces") {
  for (auto make : {pipe_ends, socket_ends}) {
    auto ends = make();
    std::string all;
    for (int i = 0; all.size() < 5'000'000; ++i) all += std::to_string(i) + ' ';
    std::thread writer([&all, to = std::move(ends.write)] {
      for (std::size_t at = 0; at < all.size();) {
        const auto done = ::write(to.get(), all.data() + at, std::min<std::size_t>(all.size() - at, 7001));
        if (done <= 0) return;
        at += static_cast<std::size_t>(done);
      }
    });
    PeekedInput input(std::move(ends.read));
    std::string seen;
    std::uint64_t taken = 0;
    for (std::size_t piece = 1;; piece = piece * 7 % 100'003) {
      pollfd state{input.fd(), POLLIN, 0};
      const auto got = next(input, piece);
      if (got.empty()) break;
      if (got == "EAGAIN") {
        taken += (seen.size() - taken + 1) / 2;
        input.taken(taken);
        if (taken == seen.size()) ::poll(&state, 1, 1000);
      } else {
        seen += got;
      }
    }
    writer.join();
    CHECK(seen == all);
  }
}

TEST_CASE("peeked: one write that is larger than the pipe, begun while untaken bytes lie in it") {
  auto ends = pipe_ends();
  PeekedInput input(std::move(ends.read));
  put(ends.write, "first");
  CHECK(next(input) == "first");
  CHECK(next(input) == "EAGAIN");
  std::thread writer([to = std::move(ends.write)] { put(to, std::string(3 << 20, 'x')); });
  std::size_t seen = 5;
  for (;;) {
    pollfd state{input.fd(), POLLIN, 0};
    REQUIRE(::poll(&state, 1, 1000) == 1);
    const auto got = next(input, 1000'000);
    if (got.empty()) break;
    if (got == "EAGAIN") continue;
    seen += got.size();
    input.taken(seen - 1);
  }
  writer.join();
  CHECK(seen == 5 + (3 << 20));
}

TEST_CASE("peeked: a file's offset stays where it is") {
  char name[] = "/tmp/ssi-peeked-XXXXXX";
  const Fd file(::mkstemp(name));
  ::unlink(name);
  put(file, "0123456789");
  ::lseek(file.get(), 4, SEEK_SET);
  PeekedInput input(file.duplicate());
  CHECK_FALSE(input.pollable());
  CHECK(next(input, 3) == "456");
  CHECK(next(input) == "789");
  CHECK(next(input).empty());
  CHECK(::lseek(file.get(), 0, SEEK_CUR) == 4);
}

TEST_CASE("peeked: only what keeps what was looked at") {
  int datagrams[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams) == 0);
  const Fd one(datagrams[0]), other(datagrams[1]), null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK_FALSE(PeekedInput::possible(one.get()));
  CHECK_FALSE(PeekedInput::possible(null.get()));
  CHECK(PeekedInput::possible(pipe_ends().read.get()));
}
