// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/read_ahead.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <deque>
#include <map>
#include <optional>

#include "common/wire.h"

using namespace ssi;

namespace {

constexpr std::uint64_t step = wire::max_body;

// A file at home, whose answers come when the test says so.
struct File {
  std::string content;
  struct Asked {
    std::uint64_t offset;
    std::uint32_t size;
    ReadAhead::Done done;
  };
  std::deque<Asked> asked;
  std::shared_ptr<ReadAhead> reads = std::make_shared<ReadAhead>();
  std::uint64_t lease = 1;

  explicit File(std::size_t size) : content(size, ' ') {
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>('a' + i / 1000 % 26);
  }
  ReadAhead::Fetch fetch() {
    return [this](std::uint64_t offset, std::uint32_t size, ReadAhead::Done done) {
      asked.push_back({offset, size, std::move(done)});
    };
  }
  void answer(int error = 0) {
    const auto next = std::move(asked.front());
    asked.pop_front();
    if (error) return next.done(error, {});
    next.done(0, next.offset < content.size() ? std::string_view(content).substr(next.offset, next.size) : "");
  }
  void answer_all() {
    while (!asked.empty()) answer();
  }
  // What a read gets, once all is answered.
  std::string read(std::uint64_t offset, std::uint32_t size) {
    std::optional<std::string> got;
    reads->read(offset, size, lease, content.size(), fetch(), [&](int error, std::string_view bytes) {
      REQUIRE_FALSE(got);
      got = error ? "error" : std::string(bytes);
    });
    answer_all();
    REQUIRE(got);
    return *got;
  }
  std::string part(std::uint64_t offset, std::uint32_t size) const {
    return offset < content.size() ? content.substr(offset, size) : "";
  }
};

}  // namespace

TEST_CASE("who reads on gets the file, whatever sizes he reads") {
  for (const std::uint32_t size : {4096u, 100'000u, 131'072u}) {
    CAPTURE(size);
    File file(3'333'333);
    for (std::uint64_t at = 0; at < file.content.size() + size; at += size) CHECK(file.read(at, size) == file.part(at, size));
  }
}

TEST_CASE("what comes next is asked for before it is read, but not beyond the end, nor without a lease") {
  File file(20 << 20);
  file.read(0, step);
  CHECK(file.asked.empty());
  bool got = false;
  file.reads->read(step, step, 1, file.content.size(), file.fetch(), [&](int, std::string_view) { got = true; });
  CHECK(file.asked.size() > 3);
  for (int i = 0; i < 100; ++i) file.answer_all();
  CHECK(got);
  for (std::uint64_t at = 2 * step; at < 100 * step; at += step) CHECK(file.read(at, step) == file.part(at, step));
  file.reads->read(100 * step, step, 1, file.content.size(), file.fetch(), [](int, std::string_view) {});
  CHECK(file.asked.size() <= 1);  // the window is full

  File small(3 * step);
  small.read(0, step);
  small.reads->read(step, step, 1, small.content.size(), small.fetch(), [](int, std::string_view) {});
  CHECK(small.asked.size() == 2);

  File unleased(20 << 20);
  unleased.lease = 0;
  for (std::uint64_t at = 0; at < 10 * step; at += step) {
    unleased.reads->read(at, step, 0, 0, unleased.fetch(), [](int, std::string_view) {});
    CHECK(unleased.asked.size() == 1);
    unleased.answer();
  }
}

TEST_CASE("who jumps about has nothing read ahead of him") {
  File file(20 << 20);
  for (std::uint64_t at = 0; at < 100 * step; at += 2 * step) {
    file.reads->read(at, step, 1, file.content.size(), file.fetch(), [](int, std::string_view) {});
    CHECK(file.asked.size() == 1);
    file.answer();
  }
}

TEST_CASE("what was read under an earlier lease is not used") {
  File file(20 << 20);
  for (std::uint64_t at = 0; at < 8 * step; at += step) file.read(at, step);
  file.content.assign(20 << 20, 'z');
  file.lease = 2;
  CHECK(file.read(8 * step, step) == std::string(step, 'z'));
}

TEST_CASE("an error of what was read ahead is no answer to who reads there: he asks himself") {
  File file(20 << 20);
  for (std::uint64_t at = 0; at < 2 * step; at += step)
    file.reads->read(at, step, 1, file.content.size(), file.fetch(), [](int, std::string_view) {});
  while (!file.asked.empty()) file.answer(EIO);
  CHECK(file.read(2 * step, step) == file.part(2 * step, step));
}
