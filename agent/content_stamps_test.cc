// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/content_stamps.h"

#include <doctest/doctest.h>

namespace {
constexpr std::int64_t second = 1'000'000'000;
ssi::wire::Attr attr(std::int64_t mtime, std::int64_t ctime, std::uint64_t size) {
  ssi::wire::Attr made;
  made.mtime = mtime;
  made.ctime = ctime;
  made.size = size;
  return made;
}
}  // namespace

TEST_CASE("content is kept while nothing changed since it was first read") {
  ssi::ContentStamps stamps;
  CHECK_FALSE(stamps.keep(20, attr(1, 1, 10), 100 * second));
  CHECK(stamps.keep(20, attr(1, 1, 10), 101 * second));
  CHECK_FALSE(stamps.keep(20, attr(1, 2, 10), 102 * second));  // same mtime and size, set by hand
  CHECK(stamps.keep(20, attr(1, 2, 10), 103 * second));
  CHECK_FALSE(stamps.keep(20, attr(1, 2, 11), 104 * second));
  CHECK_FALSE(stamps.keep(21, attr(1, 2, 11), 104 * second));
  stamps.forget(20);
  CHECK_FALSE(stamps.keep(20, attr(1, 2, 11), 105 * second));
}

TEST_CASE("a file that changed just now may change again within the same tick") {
  ssi::ContentStamps stamps;
  const auto now = 100 * second;
  CHECK_FALSE(stamps.keep(20, attr(now, now, 10), now + second));
  CHECK_FALSE(stamps.keep(20, attr(now, now, 10), now + 3 * second));
  CHECK(stamps.keep(20, attr(now, now, 10), now + 4 * second));
  CHECK_FALSE(stamps.keep(20, attr(0, now + second, 10), now + 2 * second));
  CHECK_FALSE(stamps.keep(20, attr(now, now, 10), now + 5 * second));  // the unsettled one dropped it
}
