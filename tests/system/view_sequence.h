// SPDX-License-Identifier: LGPL-2.1-or-later
// What several actors do to a directory, one after the other: random, and so that two runs of one sequence must give the same.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace ssi::view {

// An operation of view_actor.c, where the fields are explained.
struct Step {
  unsigned actor = 0;  // an index of Sequence::places, modulo their number
  std::string verb = {}, path = "-", path2 = "-";
  int slot = 0, slot2 = 0, flags = 0;
  long offset = 0, amount = 0;
};

struct Sequence {
  std::vector<unsigned> places;  // where each actor lives: indices of what the caller has, never one twice
  std::vector<Step> steps;
};

std::string line(const Step& step);
std::ostream& operator<<(std::ostream& out, const Step& step);
std::ostream& operator<<(std::ostream& out, const Sequence& sequence);

// What is played: with most steps turned to files that are open, and without those whose answer depends on what happens to
// be in a cache.
std::vector<Step> definite(const Sequence& sequence);

}  // namespace ssi::view
