// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/tokens.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/test_folder.h"

using namespace ssi;

TEST_CASE("a token is good until it expires, and is never written down") {
  const TestFolder folder;
  const auto& directory = folder.path();
  Tokens tokens(directory);
  const auto token = tokens.make(60, 1'000);
  REQUIRE(token);
  CHECK(token->size() == 32);
  CHECK(tokens.check(*token, 1'059));
  CHECK(tokens.check(*token, 1'072).error().text() ==
        "the token has expired; 'ssi guests token' makes another");
  CHECK(Tokens(directory).check(*token, 1'001));  // after a restart
  for (const std::string& wrong : {std::string(32, '0'), std::string(), std::string("/../x"), *token + "0"})
    CHECK(tokens.check(wrong, 1'001).error().text() == "the token is not one of this scheduler's");
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    std::stringstream content;
    content << file.path().filename().string() << std::ifstream(file.path()).rdbuf();
    CHECK(content.str().find(*token) == std::string::npos);
  }
  CHECK_FALSE(tokens.make(0, 1'000));
  CHECK_FALSE(tokens.make(Tokens::longest + 1, 1'000));
  CHECK(tokens.make(1, 10'000'000));  // the first one is old by now, and forgotten
  CHECK(tokens.check(*token, 10'000'000).error().text() == "the token is not one of this scheduler's");
}
