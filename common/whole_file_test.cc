// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/whole_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/test_folder.h"

using namespace ssi;
namespace fs = std::filesystem;

namespace {

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::ptrdiff_t files_in(const TestFolder& folder) {
  return std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator());
}

}  // namespace

TEST_CASE("it is there whole, with its mode, and nothing beside it") {
  const TestFolder folder;
  const auto path = folder.path() + "/file";
  const std::string large(1 << 20, 'x');
  for (const auto& text : {large, std::string("short")}) {
    REQUIRE(put_file(path, text, {.mode = 0644, .is_durable = true}));
    CHECK(read(path) == text);
  }
  struct stat status;
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0644);
  CHECK(files_in(folder) == 1);
}

TEST_CASE("what is there already stays, if it is to") {
  const TestFolder folder;
  const auto path = folder.path() + "/file";
  REQUIRE(put_file(path, "first", {.replaces = false}));
  const auto second = put_file(path, "second", {.replaces = false});
  REQUIRE_FALSE(second);
  CHECK(second.error().code.value() == EEXIST);
  CHECK(read(path) == "first");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("where it cannot be, nothing is left") {
  const TestFolder folder;
  fs::create_directory(folder.path() + "/taken");
  const auto failed = put_file(folder.path() + "/taken", "text");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().text().find("taken") != std::string::npos);
  CHECK(files_in(folder) == 1);
  CHECK_FALSE(put_file(folder.path() + "/no/file", "text"));
}
