// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/allow_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "common/allow_table.h"

using namespace ssi;

TEST_CASE("every name is found with its rule, and no other") {
  AllowedNames names;
  for (std::uint32_t i = 0; i < 500; i++) names["tool" + std::to_string(i)] = i;
  const auto table = make_allow_table(names, "/usr/bin/ssirun", 7);
  REQUIRE(table);
  for (const auto& [name, rule] : names) CHECK(look_up(*table, name) == rule);
  CHECK_FALSE(look_up(*table, "tool500"));
  CHECK_FALSE(look_up(*table, "tool"));
  CHECK_FALSE(look_up(*table, ""));
  const auto listed = names_in(*table);
  REQUIRE(listed.size() == names.size());
  CHECK(std::equal(listed.begin(), listed.end(), names.begin(),
                   [](const auto& name, const auto& pair) { return name == pair.first; }));
}

TEST_CASE("the header tells where ssirun is, and the file's size") {
  const auto table = make_allow_table({{"gcc", 3}}, "/opt/bin/ssirun", 42, ALLOW_NO_REINJECT);
  REQUIRE(table);
  allow_header header;
  std::memcpy(&header, table->data(), sizeof header);
  CHECK(header.size == table->size());
  CHECK(header.generation == 42);
  CHECK(header.flags == ALLOW_NO_REINJECT);
  CHECK(header.replaced == 0);
  CHECK(std::string(table->data() + header.ssirun) == "/opt/bin/ssirun");
}

TEST_CASE("an empty list is a table as well") {
  const auto table = make_allow_table({}, "/usr/bin/ssirun", 1);
  REQUIRE(table);
  CHECK_FALSE(look_up(*table, "gcc"));
}

TEST_CASE("a table larger than the shim takes is an error that says so") {
  AllowedNames names;
  for (std::uint32_t i = 0; i < 5000; i++) names["name" + std::to_string(i)] = i;
  const auto table = make_allow_table(names, "/usr/bin/ssirun", 1);
  REQUIRE_FALSE(table);
  CHECK(table.error().text().find("5000") != std::string::npos);
}

TEST_CASE("cut or changed bytes never lead outside") {
  const auto table = make_allow_table({{"gcc", 0}, {"cc1plus", 1}}, "/usr/bin/ssirun", 1);
  REQUIRE(table);
  for (std::size_t length = 0; length < table->size(); length++)
    CHECK_FALSE(look_up(table->substr(0, length), "gcc"));
  for (std::size_t at = 0; at < table->size(); at++)
    for (const char byte : {'\x00', '\x7f', '\xff'}) {
      auto changed = *table;
      changed[at] = byte;
      (void)look_up(changed, "gcc");  // ASan watches
      (void)names_in(changed);
    }
}
