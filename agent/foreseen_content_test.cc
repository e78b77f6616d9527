// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/foreseen_content.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "common/wire.h"

using namespace ssi;

namespace {

// Files 1, 2, ... at home, of which each byte says where it is.
struct World {
  std::map<std::uint64_t, std::uint64_t> leases{{1, 1}, {2, 1}};
  std::uint64_t file_size = 10 << 20;
  std::set<std::uint64_t> stored;
  std::deque<std::function<void()>> answers;
  int fetched = 0, error = 0;
  std::shared_ptr<ForeseenContent> content = std::make_shared<ForeseenContent>(ForeseenContent::Source{
      [this](std::uint64_t node) { return leases[node]; },
      [this](std::uint64_t node, std::uint64_t, std::uint64_t) { return stored.contains(node); },
      [this](std::uint64_t node, std::uint64_t offset, std::uint32_t size, ForeseenContent::Done done) {
        ++fetched;
        answers.push_back([=, this, done = std::move(done)] { done(error, error ? "" : bytes(node, offset, size)); });
      }});

  std::string bytes(std::uint64_t node, std::uint64_t offset, std::uint32_t size) const {
    std::string out;
    for (std::uint64_t at = offset; at < std::min<std::uint64_t>(offset + size, file_size); ++at)
      out += static_cast<char>('a' + (at / 1000 + node) % 26);
    return out;
  }
  void answer_all() {
    while (!answers.empty()) {
      const auto next = std::move(answers.front());
      answers.pop_front();
      next();
    }
  }
  // What is read without asking home.
  std::optional<std::string> read(std::uint64_t node, std::uint64_t offset, std::uint32_t size) {
    std::optional<std::string> got;
    if (!content->read(node, offset, size, [&](int failed, std::string_view part) { got = failed ? "error" : std::string(part); }))
      return {};
    answer_all();
    REQUIRE(got);
    return got;
  }
};

}  // namespace

TEST_CASE("what was expected is here when it is read, and then let go") {
  World world;
  world.content->expect(1, 4096, 300'000);
  world.answer_all();
  CHECK(world.fetched == 3);
  CHECK(world.read(1, 4096, 4096) == world.bytes(1, 4096, 4096));
  CHECK(world.read(1, 100'000, 131'072) == world.bytes(1, 100'000, 131'072));
  CHECK_FALSE(world.read(1, 4096, 131'072));
  CHECK_FALSE(world.read(1, 0, 4096));
  CHECK_FALSE(world.read(2, 4096, 4096));
  CHECK(world.read(1, 270'000, 34'096) == world.bytes(1, 270'000, 34'096));
  world.content->forget(1);
  CHECK(world.content->kept() == 0);
}

TEST_CASE("who reads what is on its way waits for it") {
  World world;
  world.content->expect(1, 0, 131'072);
  CHECK(world.read(1, 0, 131'072) == world.bytes(1, 0, 131'072));
  CHECK(world.content->kept() == 0);
  world.file_size = 100;
  world.content->expect(2, 0, 4096);
  CHECK(world.read(2, 0, 4096) == world.bytes(2, 0, 100));
}

TEST_CASE("only some is under way at a time") {
  World world;
  world.content->expect(1, 0, 10 << 20);
  CHECK(world.answers.size() == ForeseenContent::most_under_way / wire::max_body);
  world.answer_all();
  CHECK(world.fetched == (10 << 20) / static_cast<int>(wire::max_body));
}

TEST_CASE("what has changed since is not used, and what is not leased is not fetched") {
  World world;
  world.content->expect(1, 0, 131'072);
  world.answer_all();
  world.leases[1] = 2;
  CHECK_FALSE(world.read(1, 0, 4096));
  world.leases[2] = 0;
  world.fetched = 0;
  world.content->expect(2, 0, 131'072);
  CHECK(world.fetched == 0);
}

TEST_CASE("an error is told to who waits, and to nobody later") {
  World world;
  world.error = EIO;
  world.content->expect(1, 0, 4096);
  CHECK(world.read(1, 0, 4096) == "error");
  world.content->expect(2, 0, 4096);
  world.answer_all();
  CHECK_FALSE(world.read(2, 0, 4096));
}

TEST_CASE("who waits is answered also when nothing is expected any more") {
  World world;
  world.content->expect(1, 0, 4096);
  std::string got;
  REQUIRE(world.content->read(1, 0, 4096, [&](int, std::string_view bytes) { got = bytes; }));
  world.content.reset();
  world.answer_all();
  CHECK(got == world.bytes(1, 0, 4096));
}

TEST_CASE("what is stored here is not fetched") {
  World world;
  world.stored = {1};
  world.content->expect(1, 0, 4096);
  world.content->expect(2, 0, 4096);
  CHECK(world.fetched == 1);
  world.answer_all();
  CHECK_FALSE(world.content->read(1, 0, 4096, [](int, std::string_view) {}));
  CHECK(world.content->kept() == 4096);
}
