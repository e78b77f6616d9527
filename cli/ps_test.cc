// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/ps.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace ssi;

namespace {

const wire::JobStatus sample{"guest1", {7, "ann", "desk", "ffmpeg", 2'500'000, 64 << 20, 3.25}};

}  // namespace

TEST_CASE("the keys of a running job that scripts rely on") {
  const auto job = nlohmann::json::parse(ps_json({sample})).at("jobs").at(0);
  CHECK(job == nlohmann::json{{"id", 7},
                              {"user", "ann"},
                              {"home", "desk"},
                              {"guest", "guest1"},
                              {"command", "ffmpeg"},
                              {"cpu", 2.5},
                              {"memory", 64 << 20},
                              {"seconds", 3.25}});
  CHECK(ps_json({}) == "{\"jobs\":[]}\n");
}

TEST_CASE("the table of running jobs") {
  CHECK(ps_table({sample}) ==
        "JOB  USER  HOME  GUEST   CPU  MEMORY  SECONDS  COMMAND\n"
        "7    ann   desk  guest1  2.5  64 MiB  3.2      ffmpeg\n");
  auto hostile = sample;
  hostile.use.command = "\x1b[2J\xff";
  CHECK(ps_table({hostile}).find('\x1b') == std::string::npos);
  CHECK(nlohmann::json::accept(ps_json({hostile})));
}
