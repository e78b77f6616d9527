// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/undo_keep.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "deputy/test_home.h"

using namespace ssi;
namespace fs = std::filesystem;

TEST_CASE("what a deputy that died has left is removed, and nothing else") {
  const TestHome home;
  const std::string state = home.path("undo"),
                    mine = std::string(UndoKeep::prefix) + std::to_string(::geteuid()) + "-1";
  fs::create_directories(state + "/state/" + mine);
  fs::create_directories(state + "/" + mine);
  fs::create_directories(state + "/other");
  std::ofstream(state + "/" + mine + "/1") << "kept";
  std::ofstream(state + "/state/" + mine + "/1") << "kept";
  std::ofstream(state + "/other/1") << "mine";
  fs::create_symlink(state + "/" + mine, state + "/state/" + mine + "2");
  fs::create_symlink(state + "/other", state + "/state/" + mine + "3");
  {
    const Fd claimed = UndoKeep::claim(state + "/state");
    CHECK(fs::is_empty(state + "/state"));
    CHECK_FALSE(fs::exists(state + "/" + mine));
    CHECK(fs::exists(state + "/other/1"));
    fs::create_directories(state + "/state/" + mine);
    const Fd another = UndoKeep::claim(state + "/state");
    CHECK(fs::exists(state + "/state/" + mine));  // of one that lives
  }
  const Fd next = UndoKeep::claim(state + "/state");
  CHECK(fs::is_empty(state + "/state"));
}

TEST_CASE("only the file that is meant is kept, not another that has its name now") {
  const TestHome home;
  home.write("a", "mine");
  home.write("b", "another");
  const Fd dir(::open(home.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct statx status;
  REQUIRE(stat_at(dir.get(), "b", status) == 0);
  UndoKeep keep(home.path(), 1000, std::make_shared<UndoRoom>());
  CHECK_FALSE(keep.link(dir.get(), "a", id_of(status)));
  CHECK(fs::hard_link_count(home.path("a")) == 1);
  CHECK(keep.link(dir.get(), "b", id_of(status)));
}
