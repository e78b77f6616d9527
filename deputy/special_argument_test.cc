// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/special_argument.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace ssi;

TEST_CASE("FIFOs, sockets and devices among the arguments") {
  char cwd[] = "/tmp/ssi-special-XXXXXX";
  REQUIRE(::mkdtemp(cwd));
  const std::string here = cwd;
  REQUIRE(::mkfifo((here + "/p").c_str(), 0600) == 0);
  REQUIRE(::mknod((here + "/s").c_str(), S_IFSOCK | 0600, 0) == 0);
  std::ofstream(here + "/f") << "text";
  std::filesystem::create_symlink("p", here + "/link");
  CHECK(special_argument(here, {"cat", "f", "p"}) == "p is a FIFO");
  CHECK(special_argument(here, {"cat", here + "/p"}) == here + "/p is a FIFO");
  CHECK(special_argument(here, {"cat", "link"}) == "link is a FIFO");
  CHECK(special_argument("/", {"nc", "-U", here + "/s"}) == here + "/s is a socket");
  CHECK(special_argument(here, {"dd", "if=p"}) == "p is a FIFO");
  CHECK(special_argument(here, {"cat", "/dev/ptmx"}) == "/dev/ptmx is a device");
  CHECK(
      special_argument(here, {"p", "f", "", "-p", "none", "/dev/null", "/dev/stdin", "/dev/zero", ".", "x="})
          .empty());
  ExportRules rules;
  rules.hidden = {here + "/keys", here + "/f"};
  std::filesystem::create_directory(here + "/keys");
  std::ofstream(here + "/keys/id") << "text";
  std::filesystem::create_symlink("keys", here + "/way");
  const auto policy = ExportPolicy::exactly(rules);
  CHECK(hidden_argument(policy, here, {"cat", "keys/id"}) == here + "/keys/id");
  CHECK(hidden_argument(policy, "/", {"cat", "--key=" + here + "/way/id"}) == here + "/way/id");
  CHECK(hidden_argument(policy, "/", {here + "/f"}) == here + "/f");
  CHECK(hidden_argument(policy, here, {"cat", "p", "-", "", "keys/none", "..", "x="}).empty());
  std::filesystem::remove_all(here);
}
