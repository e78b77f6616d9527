// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/listings.h"

#include <doctest/doctest.h>

using namespace ssi;

namespace {

using Nodes = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("a directory in which one name after the other is asked for is to be fetched, once") {
  Listings listings;
  CHECK_FALSE(listings.asks(7));
  CHECK_FALSE(listings.asks(7));
  CHECK(listings.asks(7));
  CHECK_FALSE(listings.asks(7));
  CHECK_FALSE(listings.asks(8));
}

TEST_CASE("only of a complete directory is it known what is not there") {
  Listings listings;
  CHECK(listings.add(7, "a", 20).empty());
  CHECK(listings.find(7, "a") == 20);
  CHECK(listings.find(7, "b") == std::nullopt);
  CHECK(listings.find(8, "a") == std::nullopt);
  listings.set_complete(7);
  CHECK(listings.find(7, "b") == 0);
  listings.set_unknown(7, "hidden");
  CHECK(listings.find(7, "hidden") == std::nullopt);
  listings.set_incomplete(7);
  CHECK(listings.find(7, "b") == std::nullopt);
  CHECK(listings.find(7, "a") == 20);
}

TEST_CASE("what is forgotten is asked for again, also what was not there") {
  Listings listings;
  CHECK(listings.add(7, "a", 20).empty());
  listings.set_complete(7);
  CHECK(listings.forget(7, "a") == 20);
  CHECK(listings.forget(7, "a") == std::nullopt);
  CHECK(listings.find(7, "a") == std::nullopt);
  CHECK(listings.forget(7, "b") == std::nullopt);
  CHECK(listings.find(7, "b") == std::nullopt);
  CHECK(listings.find(7, "c") == 0);
}

TEST_CASE("each node that was added comes back once") {
  Listings listings;
  CHECK(listings.add(7, "a", 20).empty());
  CHECK(listings.add(7, "a", 20) == Nodes{20});
  CHECK(listings.add(7, "a", 21) == Nodes{20});
  CHECK(listings.add(7, "b", 22).empty());
  CHECK(listings.forget(7).size() == 2);
  CHECK(listings.size() == 0);
  CHECK(listings.add(8, "c", 23).empty());
  CHECK(listings.clear() == Nodes{23});
  CHECK(listings.clear().empty());
}

TEST_CASE("when there are too many, the directory unused for longest goes") {
  Listings listings(3);
  CHECK(listings.add(1, "a", 20).empty());
  CHECK(listings.add(2, "b", 21).empty());
  CHECK(listings.add(3, "c", 22).empty());
  CHECK(listings.find(1, "a") == 20);
  CHECK(listings.add(4, "d", 23) == Nodes{21});
  CHECK(listings.find(1, "a") == 20);
  // One that is too large by itself stays.
  CHECK(listings.add(4, "e", 24) == Nodes{22});
  CHECK(listings.add(4, "f", 25) == Nodes{20});
  CHECK(listings.add(4, "g", 26).empty());
}

TEST_CASE("what happens while a directory is fetched is not lost") {
  Listings listings;
  const auto number = listings.begin(7);
  CHECK(listings.is_fetching(7, number));
  CHECK(listings.add(7, "a", 20).empty());
  CHECK(listings.forget(7, "new") == std::nullopt);
  listings.set_complete(7);
  CHECK(listings.find(7, "other") == 0);
  CHECK(listings.find(7, "new") == std::nullopt);
  CHECK_FALSE(listings.is_fetching(7, number));

  // One that was forgotten meanwhile is not completed by its last page.
  const auto again = listings.begin(7);
  CHECK(listings.forget(7) == Nodes{20});
  CHECK_FALSE(listings.is_fetching(7, again));
  const auto third = listings.begin(7);
  CHECK_FALSE(listings.is_fetching(7, again));
  listings.set_incomplete(7);
  CHECK_FALSE(listings.is_fetching(7, third));
}
