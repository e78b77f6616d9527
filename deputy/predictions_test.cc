// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/predictions.h"

#include <doctest/doctest.h>

#include <limits>

using namespace ssi;

TEST_CASE("an unknown command has no prediction; one run is enough for one") {
  Predictions predictions;
  CHECK_FALSE(predictions.of("k"));
  predictions.remember("k", {false, 0.3, 100 << 20});
  REQUIRE(predictions.of("k"));
  CHECK(predictions.of("k")->work == 0.3);
  CHECK(predictions.of("k")->memory == (125 << 20) + (32 << 20));
  CHECK_FALSE(predictions.of("other"));
}

TEST_CASE("one odd run does not count, a change does after a few") {
  Predictions predictions;
  for (int i = 0; i < 5; ++i) predictions.remember("k", {false, 10, 0});
  predictions.remember("k", {false, 0.01, 0});
  CHECK(predictions.of("k")->work == 10);
  CHECK(predictions.of("k")->memory == 0);
  for (int i = 0; i < 3; ++i) predictions.remember("k", {false, 40, 0});
  CHECK(predictions.of("k")->work == 40);
}

TEST_CASE("a run at home only shows that it takes longer") {
  Predictions predictions;
  predictions.remember("k", {true, 5, 0});
  CHECK_FALSE(predictions.of("k"));
  predictions.remember("k", {false, 1, 1 << 20});
  predictions.remember("k", {true, 0.1, 0});
  CHECK(predictions.of("k")->work == 1);
  predictions.remember("k", {true, 60, 0});
  CHECK(predictions.of("k")->work == 60);
  CHECK(predictions.of("k")->memory > 0);
}

TEST_CASE("nonsense is not remembered, and what is remembered is bounded") {
  Predictions predictions;
  predictions.remember("k", {false, std::numeric_limits<double>::quiet_NaN(), 0});
  predictions.remember("k", {false, -1, 0});
  CHECK_FALSE(predictions.of("k"));
  for (std::size_t i = 0; i < Predictions::commands_kept + 10; ++i)
    predictions.remember(std::to_string(i), {false, 1, 0});
  CHECK(predictions.of(std::to_string(Predictions::commands_kept + 9)));
}
