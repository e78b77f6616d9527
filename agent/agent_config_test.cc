// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/agent_config.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>

#include "common/identity.h"
#include "common/test_folder.h"

using namespace ssi;

namespace {

Status load(const std::string& text, AgentOptions& options) {
  const TestFolder folder;
  const auto file = folder.path() + "/agent.toml";
  std::ofstream(file) << text;
  ::chmod(file.c_str(), 0600);
  return load_agent_config(file, options);
}

}  // namespace

TEST_CASE("all that an agent is told can stand in its file") {
  const auto key = Identity::generate().public_key();
  AgentOptions options;
  REQUIRE(load("name = \"g\"\nscheduler = \"10.0.0.1:7700\"\nscheduler_key = \"" + key_text(key) +
                   "\"\ndial = \"out\"\nkey = \"/k\"\ntoken = \"t\"\ndrain_seconds = 2.5\ncache = \"/c\"\ncache_mib = 64\n",
               options));
  CHECK(options.name == "g");
  CHECK(options.schedulers == std::vector<std::string>{"10.0.0.1:7700"});
  CHECK(options.scheduler_keys == std::vector{key});
  CHECK(options.dials_out);
  CHECK(options.key_file == "/k");
  CHECK(options.token == "t");
  CHECK(options.drain_seconds == 2.5);
  CHECK(options.cache == "/c");
  CHECK(options.cache_mib == 64);
  CHECK(check_complete(options));
  options.listen = "10.0.0.2:7701";
  CHECK_FALSE(check_complete(options));
  options.dials_out = false;
  CHECK(check_complete(options));
  options.name.clear();
  CHECK_FALSE(check_complete(options));
}

TEST_CASE("several schedulers: as arrays, or as the lists that a guest's settings are") {
  const auto a = Identity::generate().public_key(), b = Identity::generate().public_key();
  AgentOptions arrays, lists;
  REQUIRE(load(
      "scheduler = [\"a:1\", \"b:2\"]\nscheduler_key = [\"" + key_text(a) + "\", \"" + key_text(b) + "\"]\n",
      arrays));
  REQUIRE(
      load("scheduler = \"a:1, b:2\"\nscheduler_key = \"" + key_text(a) + "," + key_text(b) + "\"\n", lists));
  for (auto* options : {&arrays, &lists}) {
    CHECK(options->schedulers == std::vector<std::string>{"a:1", "b:2"});
    CHECK(options->scheduler_keys == std::vector{a, b});
    options->name = options->key_file = "x";
    options->dials_out = true;
    CHECK(check_complete(*options));
    options->schedulers.back() = "b";
    CHECK(check_complete(*options).error().text() == "the scheduler must be HOST:PORT, not 'b'");
    options->schedulers.back() = "b:2";
    options->schedulers.emplace_back("c:3");
    CHECK_FALSE(check_complete(*options));
    options->scheduler_keys.resize(1);
    CHECK(check_complete(*options));
  }
}

TEST_CASE("what is wrong in it is one line") {
  AgentOptions options;
  CHECK(load("dial = \"up\"\n", options)
            .error()
            .text()
            .ends_with("agent.toml:1: 'dial' must be one of \"in\", \"out\""));
  CHECK(load("\nscheduler_key = \"12\"\n", options)
            .error()
            .text()
            .ends_with("agent.toml:2: 'scheduler_key' must be a public key (64 hexadecimal digits), or an "
                       "array of them"));
  CHECK_FALSE(load("colour = 1\n", options));
  CHECK(load_agent_config("/nonexistent", options).error().text() ==
        "/nonexistent: No such file or directory");
}
