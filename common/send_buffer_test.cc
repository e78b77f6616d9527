// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/send_buffer.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

constexpr std::uint64_t gigabit = 125'000'000, kib = 1 << 10;

}  // namespace

TEST_CASE("on a near link: twice what is on its way, and a little") {
  SendBuffer buffer;
  CHECK(buffer.full(10'000, {gigabit, 400}) == 175'000);
  CHECK_FALSE(buffer.full(10'100, {gigabit, 400}));
  CHECK_FALSE(buffer.full(10'200, {gigabit * 11 / 10, 400}));  // hardly another one
  CHECK_FALSE(buffer.full(10'300, {gigabit / 10, 400}));       // it has been faster a moment ago
}

TEST_CASE("a link that stays slower, or gets faster, is followed within seconds") {
  SendBuffer buffer;
  buffer.full(10'000, {gigabit, 400});
  CHECK_FALSE(buffer.full(12'100, {gigabit / 4, 400}));
  CHECK(buffer.full(14'200, {gigabit / 4, 400}) == 96 * kib);
  CHECK(buffer.full(14'300, {gigabit * 3 / 2, 400}) == 262'500);
  CHECK(buffer.full(14'400, {20 * gigabit, 400}) == 384 * kib);
}

TEST_CASE("far away, on a fast link, or of an unknown one it is the kernel's") {
  for (const auto& link : {LinkState{gigabit, 5'000}, LinkState{100 * gigabit, 50}, LinkState{0, 400}, LinkState{gigabit, 0}}) {
    SendBuffer buffer;
    CHECK_FALSE(buffer.full(10'000, link));
  }
}
