// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_record.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>

#include "cli/pool_published.h"
#include "common/test_folder.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

PoolRecord sample() {
  PoolRecord record;
  record.boot = boot_id();
  record.program = "/usr/bin/ssi-scheduler";
  record.network = {"ssi3", 3, 77};
  record.address = "198.18.3.1:7700";
  record.key = std::string(64, 'a');
  record.scheduler = {100, 4711};
  record.guests = {{101, 4712}, {102, 4713}};
  record.planned = 2;
  record.complete = true;
  return record;
}

TEST_CASE("a record survives the file") {
  const TestFolder folder;
  std::string file = folder.path() + "/pool.json";
  CHECK(load_record(file).error().code == std::errc::no_such_file_or_directory);
  REQUIRE(save_record(file, sample()));
  REQUIRE(save_record(file, sample()));  // again, over the first
  auto loaded = load_record(file);
  REQUIRE(loaded);
  CHECK(to_json(*loaded) == to_json(sample()));
  CHECK(loaded->guests[1].start == 4713);
  struct stat state {};
  REQUIRE(::stat(file.c_str(), &state) == 0);
  CHECK((state.st_mode & 0777) == 0600);
}

TEST_CASE("a record of an earlier boot is none") {
  const TestFolder folder;
  std::string file = folder.path() + "/pool.json";
  auto record = sample();
  record.boot = "another";
  REQUIRE(save_record(file, record));
  CHECK(load_record(file).error().code == std::errc::no_such_file_or_directory);
}

TEST_CASE("a broken record is an error, never an exception") {
  for (const char* text : {"", "{", "[]", "{}", "null", R"({"boot": 3})"}) CHECK_FALSE(parse_record(text));
  auto text = to_json(sample());
  for (std::size_t length = 0; length + 2 < text.size(); length++)
    CHECK_FALSE(parse_record(text.substr(0, length)));
}

TEST_CASE("two that write one file at once both do, and it is whole") {
  char directory[] = "/tmp/ssi-record-test.XXXXXX";
  REQUIRE(::mkdtemp(directory));
  const auto file = std::string(directory) + "/file";
  std::atomic<int> failed = 0;
  const auto write = [&](const std::string& text) {
    for (int i = 0; i < 300; ++i) failed += put_file(file, text, {.mode = 0644}) ? 0 : 1;
  };
  std::thread other(write, std::string(2000, 'a'));
  write(std::string(3000, 'b'));
  other.join();
  CHECK(failed == 0);
  const auto text = read_whole(file).value();
  CHECK((text == std::string(2000, 'a') || text == std::string(3000, 'b')));
  CHECK(std::distance(std::filesystem::directory_iterator(directory), {}) == 1);
  std::filesystem::remove_all(directory);
}

TEST_CASE("the published file names its publisher") {
  auto publisher = publisher_of(published_text(sample()));
  CHECK(publisher.pid == 100);
  CHECK(publisher.start == 4711);
  CHECK(publisher_of("scheduler = \"x\"\n").pid == 0);
}

TEST_CASE("addresses of a pool") {
  auto network = sample().network;
  CHECK(network.home_address() == "198.18.3.1");
  CHECK(network.guest_address(1) == "198.18.3.11");
  CHECK(network.guest_address(64) == "198.18.3.74");
  CHECK(PoolNetwork{"ssi255", 255, 1}.home_end(64).size() < 16);  // IFNAMSIZ
}

}  // namespace
}  // namespace ssi
