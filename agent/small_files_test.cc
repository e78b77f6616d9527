// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/small_files.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <set>

using namespace ssi;

namespace {

// Directories 1, 2, ... of files, whose nodes are 100 * directory + i and whose names sort the other way round.
struct World {
  SmallFiles files;
  std::map<std::uint64_t, SmallFiles::Leased> leases;
  std::map<std::uint64_t, int> fetched;
  std::deque<std::function<void()>> answers;
  int error = 0;

  explicit World(SmallFiles::Limits limits = {}) : files(limits) {}
  void add(std::uint64_t directory, std::size_t count, std::uint64_t size = 1000) {
    std::vector<SmallFiles::Named> named;
    for (std::size_t i = 0; i < count; ++i) {
      const auto node = 100 * directory + i;
      named.push_back({std::string(1, static_cast<char>('a' + static_cast<int>(count - i))), node});
      leases[node] = {1, size};
    }
    files.listed(directory, true, named);
  }
  static std::string content(std::uint64_t node) { return "content of " + std::to_string(node); }
  SmallFiles::Source source() {
    return {[this](std::uint64_t node) { return leases[node]; },
            [this](std::uint64_t node, std::uint64_t, SmallFiles::Done done) {
              ++fetched[node];
              answers.push_back([this, node, done = std::move(done)] { done(error, error ? "" : content(node)); });
            }};
  }
  void answer_all() {
    while (!answers.empty()) {
      const auto next = std::move(answers.front());
      answers.pop_front();
      next();
    }
  }
  // Whether it needs no word from home.
  bool read(std::uint64_t directory, std::uint64_t node) {
    std::string got;
    const bool known = files.read(directory, node, source(), [&](int, std::string_view bytes) { got = bytes; });
    answer_all();
    if (known) CHECK(got == content(node));
    return known;
  }
};

}  // namespace

TEST_CASE("who reads one file after the other finds the next ones here, each fetched once") {
  World world;
  world.add(1, 20);
  std::size_t known = 0;
  for (std::uint64_t i = 0; i < 20; ++i) known += world.read(1, 100 + i);
  CHECK(known >= 16);
  for (const auto& [node, times] : world.fetched) CHECK(times == 1);
}

TEST_CASE("in the order of names too, and on in the next directory") {
  World world;
  world.add(1, 20);
  world.add(2, 20);
  std::size_t known = 0;
  for (std::uint64_t i = 20; i-- > 0;) known += world.read(1, 100 + i);
  CHECK(known >= 14);
  known = 0;
  for (std::uint64_t i = 20; i-- > 0;) known += world.read(2, 200 + i);
  CHECK(known == 19);
}

TEST_CASE("who picks some has nothing fetched for him") {
  World world;
  world.add(1, 90);
  for (const std::uint64_t i : {50ULL, 10ULL, 80ULL, 30ULL, 60ULL, 0ULL, 40ULL, 20ULL}) CHECK_FALSE(world.read(1, 100 + i));
  CHECK(world.fetched.empty());
}

TEST_CASE("large files, and those without a lease, are left out") {
  World world;
  world.add(1, 20);
  world.leases[110].size = SmallFiles::largest + 1;
  world.leases[111] = {};
  for (std::uint64_t i = 0; i < 10; ++i) world.read(1, 100 + i);
  CHECK(world.fetched.contains(112));
  CHECK_FALSE(world.fetched.contains(110));
  CHECK_FALSE(world.fetched.contains(111));
}

TEST_CASE("what has changed since it was fetched is not used") {
  World world;
  world.add(1, 20);
  for (std::uint64_t i = 0; i < 6; ++i) world.read(1, 100 + i);
  world.leases[106].lease = 2;
  CHECK_FALSE(world.read(1, 106));
  world.files.forget(107);
  CHECK_FALSE(world.read(1, 107));
  CHECK(world.read(1, 108));
}

TEST_CASE("no more is kept than allowed, and not more than so much fetched ahead") {
  World world({.files = 5, .bytes = 1 << 20, .kept = 3000, .directories = 2});
  world.add(1, 50);
  for (std::uint64_t i = 0; i < 4; ++i) world.read(1, 100 + i);
  CHECK(world.fetched.size() <= 6);  // five ahead of each of the last two
  CHECK_FALSE(world.read(1, 104));   // the oldest of five, of which three are kept
  world.add(2, 5);
  world.add(3, 5);
  CHECK_FALSE(world.read(1, 110));
}

TEST_CASE("who waits for a fetched file hears of its error") {
  World world;
  world.add(1, 20);
  for (std::uint64_t i = 0; i < 4; ++i) world.files.read(1, 100 + i, world.source(), [](int, std::string_view) {});
  int error = 0;
  REQUIRE(world.files.read(1, 104, world.source(), [&](int got, std::string_view) { error = got; }));
  world.error = EIO;
  world.answer_all();
  CHECK(error == EIO);
  CHECK_FALSE(world.read(1, 104));
}
