// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/options.h"

#include <doctest/doctest.h>

namespace ssi {
namespace {

struct Parsed {
  std::optional<int> status;
  std::vector<std::string> words;
  bool loud = false;
  std::string size;
};

Parsed parse(std::vector<std::string> line) {
  Parsed result;
  Options options("ssi test", "usage\n");
  options.flag("loud", result.loud);
  options.value("size", [&](const std::string& text) {
    result.size = text;
    return text != "none";
  });
  line.insert(line.begin(), "test");
  std::vector<char*> argv;
  for (auto& word : line) argv.push_back(word.data());
  argv.push_back(nullptr);
  result.status = options.parse(static_cast<int>(line.size()), argv.data());
  result.words = options.words();
  return result;
}

TEST_CASE("options and words may be mixed") {
  auto parsed = parse({"up", "--size", "3", "more", "--loud"});
  CHECK_FALSE(parsed.status);
  CHECK(parsed.words == std::vector<std::string>{"up", "more"});
  CHECK(parsed.size == "3");
  CHECK(parsed.loud);
}

TEST_CASE("what comes behind -- is no option") {
  auto parsed = parse({"--", "--loud"});
  CHECK(parsed.words == std::vector<std::string>{"--loud"});
  CHECK_FALSE(parsed.loud);
}

TEST_CASE("wrong usage is status 2") {
  CHECK(parse({"--nonsense"}).status == exit_usage);
  CHECK(parse({"-x"}).status == exit_usage);
  CHECK(parse({"--size"}).status == exit_usage);
  CHECK(parse({"--size=none"}).status == exit_usage);
  CHECK(parse({"--loud=yes"}).status == exit_usage);
}

TEST_CASE("--help is the end, and no failure") {
  CHECK(parse({"--help"}).status == 0);
}

}  // namespace
}  // namespace ssi
