// SPDX-License-Identifier: LGPL-2.1-or-later
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

const wire::ForeseenName* find(const wire::Foreseen& told, const std::string& name) {
  const auto found = std::find_if(told.names.begin(), told.names.end(), [&](const auto& each) { return each.name == name; });
  return found == told.names.end() ? nullptr : &*found;
}

Profile profile_of(const TestHome& home) {
  Profile profile;
  profile.looked_up(home.path("dir"));
  profile.read(home.path("dir/file"), {0, 4});
  profile.looked_up(home.path("dir/none"));
  profile.looked_up(home.path("link"));
  return profile;
}

struct World {
  TestHome home;
  World() {
    std::filesystem::create_directory(home.path("dir"));
    home.write("dir/file", "text");
    std::filesystem::create_symlink("dir/file", home.path("link"));
    ::usleep(40'000);  // more than a tick of the kernel's clock: what is younger may have changed again
    home.told();
  }
};

}  // namespace

TEST_CASE("what a job looks up, reads and finds in its guest is written down, and nothing of other jobs") {
  World world;
  auto& home = world.home;
  home.server().begin(7);
  auto caller = TestHome::me();
  caller.job = 7;
  const auto dir = home.ask(wire::Lookup{home.root(), "dir", caller})->node;
  const auto file = home.ask(wire::Lookup{dir, "file", caller})->node;
  CHECK(home.ask(wire::Lookup{dir, "none", caller})->node == 0);
  home.ask(wire::Lookup{home.root(), "link", TestHome::me()});
  CHECK(home.ask(wire::Open{file, 100, O_RDONLY, caller}));
  CHECK(home.read(100, 0, 4) == "text");
  home.tell(wire::Found{7, {{dir, "other"}}});
  const auto seen = home.server().recorded(7);
  std::vector<std::string> paths;
  for (const auto& entry : seen.entries()) paths.push_back(entry.path);
  CHECK(paths == std::vector<std::string>{home.path("dir"), home.path("dir/file"), home.path("dir/none"), home.path("dir/other")});
  CHECK(seen.entries()[1].ranges == std::vector<Profile::Range>{{0, 4}});
  CHECK(home.server().recorded(7).empty());
}

TEST_CASE("a guest is told of what its job will ask for, once, and again when it has changed") {
  World world;
  auto& home = world.home;
  home.server().foresee(profile_of(home));
  auto told = home.foreseen();
  REQUIRE(find(told, "file"));
  CHECK(find(told, "file")->entry.attr.size == 4);
  REQUIRE(find(told, "none"));
  CHECK(find(told, "none")->entry.node == 0);
  REQUIRE(find(told, "link"));
  CHECK(find(told, "link")->entry.target == "dir/file");
  REQUIRE(told.ranges.size() == 1);
  CHECK(told.ranges[0].node == find(told, "file")->entry.node);
  CHECK(find(told, "file")->parent == find(told, "dir")->entry.node);

  home.server().foresee(profile_of(home));
  told = home.foreseen();  // but for /tmp, where others are busy
  for (const auto* name : {"dir", "file", "none", "link"}) CHECK_FALSE(find(told, name));
  CHECK(told.ranges.empty());

  home.write("dir/file", "longer");
  home.write("dir/none", "");
  home.server().tell_stale();
  home.server().foresee(profile_of(home));
  told = home.foreseen();
  REQUIRE(find(told, "file"));
  CHECK(find(told, "file")->entry.attr.size == 6);
  REQUIRE(find(told, "none"));
  CHECK(find(told, "none")->entry.node != 0);
  CHECK(told.ranges.size() == 1);
  CHECK_FALSE(find(told, "link"));
}

TEST_CASE("what is hidden, gone or not to be watched is not told ahead") {
  ExportRules rules;
  rules.hidden = {"HOME/dir/secret"};
  TestHome home({.rules = rules});
  std::filesystem::create_directory(home.path("dir"));
  home.write("dir/secret", "text");
  Profile profile;
  profile.read(home.path("dir/secret"), {0, 4});
  profile.read(home.path("away/file"), {0, 4});
  home.server().foresee(profile);
  const auto told = home.foreseen();
  CHECK_FALSE(find(told, "secret"));
  CHECK_FALSE(find(told, "file"));
  CHECK(told.ranges.empty());
}

TEST_CASE("a directory is listed whole, page by page; not one in which something is hidden") {
  ExportRules rules;
  rules.hidden = {"HOME/dir/secret"};
  TestHome home({.rules = rules});
  std::filesystem::create_directory(home.path("dir"));
  std::filesystem::create_directory(home.path("large"));
  home.write("dir/secret", "text");
  home.write("dir/open", "text");
  for (int i = 0; i < 700; ++i) home.write("large/" + std::to_string(i), "");
  const auto whole = [&](std::uint64_t dir) {
    std::size_t names = 0;
    for (std::int64_t offset = 0;;) {
      const auto page = home.ask(wire::List{dir, offset, TestHome::me()});
      REQUIRE(page);
      names += page->entries.size();
      if (page->end || page->entries.empty()) return std::pair(names, page->end != 0);
      offset = page->entries.back().next;
    }
  };
  CHECK(whole(home.look(home.root(), "dir").node) == std::pair(std::size_t{3}, false));
  const auto large = home.look(home.root(), "large").node;
  CHECK(whole(large) == std::pair(std::size_t{702}, true));

  // Whatever comes to a directory that was listed whole is told of.
  home.told();
  home.write("large/new", "");
  const auto told = home.told();
  CHECK(std::any_of(told.names.begin(), told.names.end(), [&](const auto& name) { return name.parent == large && name.name == "new"; }));
}
