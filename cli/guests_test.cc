// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/guests.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

using namespace ssi;

TEST_CASE("times as people write them") {
  CHECK(parse_duration("90s") == 90);
  CHECK(parse_duration("30m") == 1800);
  CHECK(parse_duration("12h") == 43200);
  CHECK(parse_duration("7d") == 604800);
  for (const char* bad : {"", "m", "30", "0m", "-1m", "30x", "30mm", "99999999999s", "1e3s"})
    CHECK(parse_duration(bad).error().text() ==
          "'" + std::string(bad) + "' is not a time like 90s, 30m, 12h or 7d");
}

TEST_CASE("guests as a table and as JSON; what they say cannot steer a terminal") {
  const std::vector<wire::GuestEntry> guests{
      {"guest1", "up", std::string(32, '\x11'), "198.18.0.11:7701", "", "", 0.2},
      {"x\x1b[31m", "pending", std::string(32, '\x22'), "", "u", "waits", 3}};
  CHECK(guests_table(guests) ==
        "NAME    STATE    FINGERPRINT       HEARD   ADDRESS           WHY\n"
        "guest1  up       1111111111111111  0s ago  198.18.0.11:7701\n"
        "x?[31m  pending  2222222222222222  3s ago  -                 waits\n");
  const auto json = nlohmann::json::parse(guests_json(guests));
  REQUIRE(json["guests"].size() == 2);
  CHECK(json["guests"][1]["fingerprint"] == "2222222222222222");
  CHECK(json["guests"][1]["state"] == "pending");
  CHECK(json["guests"][0]["silent"] == 0.2);
}
