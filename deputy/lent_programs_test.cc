// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/lent_programs.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace ssi;
using Nodes = std::vector<std::uint64_t>;

TEST_CASE("what a job has run until it started is lent to the next one of that program") {
  LentPrograms programs;
  CHECK(programs.begin(1, "/bin/a").empty());
  programs.ran(1, 10);
  programs.ran(0, 11);  // nobody else starts
  programs.ran(1, 10);
  programs.ran(2, 12);
  CHECK(programs.end(1).empty());
  programs.ran(1, 13);
  CHECK(programs.begin(2, "/bin/a") == Nodes{10, 11});
  CHECK(programs.begin(3, "/bin/b").empty());
  programs.ran(0, 14);  // of which of them?
  programs.end(3);
  CHECK(programs.begin(4, "/bin/b").empty());
}

TEST_CASE("what is used is the guest's; what is not is closed, and not lent again") {
  LentPrograms programs;
  programs.begin(1, "/bin/a");
  programs.ran(1, 10);
  programs.ran(1, 12);
  programs.end(1);
  programs.begin(2, "/bin/a");
  const auto claimed = programs.lend(2, 10), unused = programs.lend(2, 12);
  CHECK((claimed & wire::homes_handles) != 0);
  CHECK((claimed & 1) == 0);  // for reading
  CHECK(programs.claim(claimed));
  CHECK_FALSE(programs.claim(claimed));
  CHECK_FALSE(programs.claim(77));
  const auto left = programs.end(2);
  REQUIRE(left.size() == 1);
  CHECK(left[0].handle == unused);
  CHECK_FALSE(programs.claim(unused));
  CHECK(programs.begin(3, "/bin/a") == Nodes{10});
}

TEST_CASE("a program that was made anew is learned anew") {
  LentPrograms programs;
  for (std::uint64_t made = 1; made < 20; ++made) {
    const auto job = made;
    for (const auto old : programs.begin(job, "/bin/a"))
      if (old != 100) programs.unlearn("/bin/a", old);  // it has lost its name; 100 is the loader
    programs.ran(job, made);
    programs.ran(job, 100);
    programs.end(job);
    const auto next = programs.begin(99, "/bin/a");
    CHECK(std::find(next.begin(), next.end(), made) != next.end());
    CHECK(std::find(next.begin(), next.end(), 100) != next.end());
    programs.end(99);
  }
}

TEST_CASE("not more than a few files of a program") {
  LentPrograms programs;
  programs.begin(1, "/bin/a");
  for (std::uint64_t node = 1; node < 20; ++node) programs.ran(1, node);
  programs.end(1);
  CHECK(programs.begin(2, "/bin/a").size() == LentPrograms::most_files);
}
