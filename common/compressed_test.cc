// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/compressed.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

using namespace ssi;

TEST_CASE("content comes back as it was, and only what gets smaller is compressed") {
  std::string text;
  for (int number = 0; text.size() < 100'000; ++number) text += std::to_string(number) + " ";
  const auto smaller = compress(text);
  REQUIRE(smaller);
  CHECK(smaller->size() < text.size() * 9 / 10);
  CHECK(decompress(*smaller, text.size()) == text);
  std::mt19937 random(1);
  std::string noise(100'000, '\0');
  for (auto& byte : noise) byte = static_cast<char>(random());
  CHECK_FALSE(compress(noise));
  CHECK_FALSE(compress(""));
  CHECK_FALSE(compress("short"));
}

TEST_CASE("what is not what it says is not believed") {
  const std::string text(100'000, 'x');
  const auto smaller = compress(text);
  REQUIRE(smaller);
  CHECK_FALSE(decompress(*smaller, text.size() - 1));
  CHECK_FALSE(decompress(*smaller, text.size() + 1));
  CHECK_FALSE(decompress(smaller->substr(0, smaller->size() / 2), text.size()));
  CHECK_FALSE(decompress("not zstd", 8));
  CHECK_FALSE(decompress("", 1));
}
