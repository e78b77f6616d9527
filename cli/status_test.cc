// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/status.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

namespace ssi {
namespace {

wire::GuestStatus sample() {
  wire::GuestStatus guest;
  guest.name = "guest1";
  guest.state = "up";
  guest.cpus = 4;
  guest.speed = 1.5;
  guest.load = 0.5;
  guest.steal = 0.25;
  guest.memory_total = 8ULL << 30;
  guest.memory_free = 6ULL << 30;
  guest.jobs = {7, 9};
  return guest;
}

TEST_CASE("the keys that scripts rely on") {
  auto object = nlohmann::json::parse(status_json({sample()}));
  auto guest = object.at("guests").at(0);
  CHECK(guest.at("name") == "guest1");
  CHECK(guest.at("state") == "up");
  CHECK(guest.at("cpus") == 4);
  CHECK(guest.at("speed") == 1.5);
  CHECK(guest.at("load") == 0.5);
  CHECK(guest.at("steal") == 0.25);
  CHECK(guest.at("memory") == 6ULL << 30);
  CHECK(guest.at("memory_total") == 8ULL << 30);
  CHECK(guest.at("jobs") == nlohmann::json::array({7, 9}));
  CHECK(nlohmann::json::parse(status_json({})).at("guests").empty());
}

TEST_CASE("a name that is no text breaks neither form") {
  auto guest = sample();
  guest.name = "\x1b[2J\xff";
  CHECK(nlohmann::json::accept(status_json({guest})));
  CHECK(status_table({guest}).find('\x1b') == std::string::npos);
}

TEST_CASE("the table has a line for each guest") {
  auto gone = sample();
  gone.name = "guest2";
  gone.state = "gone";
  gone.silent = 12;
  auto text = status_table({sample(), gone});
  CHECK(text ==
        "NAME    STATE     CPUS  SPEED  LOAD  STEAL  MEMORY               JOBS\n"
        "guest1  up        4     1.50   0.5   25%    6.0 of 8.0 GiB free  2\n"
        "guest2  gone 12s  4     1.50   0.5   25%    6.0 of 8.0 GiB free  2\n");
}

}  // namespace
}  // namespace ssi
