// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/history.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace ssi;

namespace {

PastJob sample() {
  PastJob job;
  job.id = 7;
  job.started = 1.5;
  job.user = "ann";
  job.home = "desk";
  job.guest = "guest1";
  job.command = "ffmpeg";
  job.reason = "guest1 is expected to end first";
  job.rule = "ffmpeg";
  job.state = "ended";
  job.predicted = 11.2;
  job.status = 0;
  job.seconds = 12.34;
  job.cpu = 20.5;
  job.memory = 64 << 20;
  job.bytes_in = 1000;
  job.bytes_out = 10;
  job.round_trips = 3;
  job.cache_hits = 214;
  job.file_wait = 0.004;
  return job;
}

PastJob at_home() {
  PastJob job;
  job.id = 8589934593;
  job.command = "true";
  job.guest = "home";
  job.reason = "predicted 0.3 s, below min_seconds 2";
  job.state = "ended";
  return job;
}

}  // namespace

TEST_CASE("the keys of a past job that scripts rely on") {
  const auto jobs = nlohmann::json::parse(history_json({sample(), at_home()})).at("jobs");
  CHECK(jobs.at(0) == nlohmann::json{{"id", 7},
                                     {"user", "ann"},
                                     {"home", "desk"},
                                     {"guest", "guest1"},
                                     {"command", "ffmpeg"},
                                     {"cpu", 20.5},
                                     {"memory", 64 << 20},
                                     {"seconds", 12.34},
                                     {"status", 0},
                                     {"reason", "guest1 is expected to end first"},
                                     {"started", 1.5},
                                     {"bytes_in", 1000},
                                     {"bytes_out", 10},
                                     {"round_trips", 3},
                                     {"cache_hits", 214},
                                     {"file_wait", 0.004}});
  for (const char* key : {"cpu", "memory", "seconds", "status", "bytes_in", "bytes_out", "round_trips", "file_wait"})
    CHECK(jobs.at(1).at(key).is_null());
}

TEST_CASE("why, in one line") {
  CHECK(why_line(sample()) ==
        "job 7 ffmpeg ran on guest1: guest1 is expected to end first; rule ffmpeg; predicted 11 s of "
        "processor; "
        "it took 12.3 s (status 0)\n");
  CHECK(why_line(at_home()) ==
        "job 8589934593 true ran at home: predicted 0.3 s, below min_seconds 2; no rule matched; not "
        "predicted; "
        "its end was not seen\n");
  auto running = sample();
  running.state = "running";
  CHECK(why_line(running).find("runs on guest1") != std::string::npos);
  running.reason = "\x1b[2J";
  CHECK(why_line(running).find('\x1b') == std::string::npos);
}

TEST_CASE("the table of past jobs shows what is not known as a dash") {
  const auto text = history_table({sample(), at_home()});
  CHECK(text.find("guest1  20.5  64 MiB  12.3     0") != std::string::npos);
  CHECK(text.find("home    -     -       -        -       true") != std::string::npos);
}
