// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/view_sequence.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <ostream>
#include <set>
#include <sstream>
#include <utility>

namespace ssi::view {

namespace {

std::string open_flags(int flags) {
  constexpr std::pair<int, const char*> named[] = {
      {O_CREAT, " creat"}, {O_EXCL, " excl"}, {O_TRUNC, " trunc"},         {O_APPEND, " append"},
      {O_SYNC, " sync"},   {O_PATH, " path"}, {O_DIRECTORY, " directory"}, {O_NOFOLLOW, " nofollow"}};
  constexpr const char* access[] = {"reads", "writes", "reads and writes", "?"};
  std::string words = access[flags & O_ACCMODE];
  for (const auto& [flag, word] : named)
    if (flags & flag) words += word;
  return words;
}

bool allocates(const Step& step) {
  return step.verb == "fallocate" && !(step.flags & FALLOC_FL_PUNCH_HOLE);
}

bool seeks_holes(const Step& step) {
  return step.verb == "lseek" && (step.flags == SEEK_DATA || step.flags == SEEK_HOLE);
}

// Of this one a guest's kernel tells nobody (docs/view.md).
bool changes_no_owner(const Step& step) {
  return step.verb == "chown" && step.offset == -1 && step.amount == -1;
}

// Which slots an actor has open, as far as can be told without playing: enough to have most steps meet an open file.
class Slots {
 public:
  void direct(Step& step) {
    static const std::set<std::string> used{"close",     "read",      "pread",    "write",  "pwrite", "lseek",
                                            "ftruncate", "fallocate", "sendfile", "copy",   "fsync",  "map",
                                            "flock",     "lock",      "getlock",  "fchmod", "fstat"};
    if (used.contains(step.verb)) {
      if (open_.empty()) return open(step);
      step.slot = open_[static_cast<std::size_t>(step.slot) % open_.size()];
      step.slot2 = open_[static_cast<std::size_t>(step.slot2) % open_.size()];
      if (step.verb == "close") std::erase(open_, step.slot);
    } else if (step.verb == "open" && std::find(open_.begin(), open_.end(), step.slot) == open_.end()) {
      open_.push_back(step.slot);
    }
  }

 private:
  std::vector<int> open_;

  void open(Step& step) {
    step.verb = "open";
    step.flags = O_RDWR | O_CREAT;
    step.amount = 0644;
    open_.push_back(step.slot);
  }
};

}  // namespace

std::string line(const Step& step) {
  const bool is_mode = step.verb == "open" || step.verb == "mkdir" || step.verb.ends_with("chmod");
  std::ostringstream out;
  out << step.verb << ' ' << step.slot << ' ' << step.slot2 << ' ' << step.path << ' ' << step.path2 << ' '
      << step.offset << ' ' << (is_mode ? "0" : "") << (is_mode ? std::oct : std::dec) << step.amount << ' '
      << std::dec << step.flags;
  return out.str();
}

std::ostream& operator<<(std::ostream& out, const Step& step) {
  out << step.actor << ": " << line(step);
  if (step.verb == "open") out << " (" << open_flags(step.flags) << ')';
  return out;
}

std::ostream& operator<<(std::ostream& out, const Sequence& sequence) {
  out << "actors at";
  for (const unsigned place : sequence.places) out << ' ' << place;
  for (const Step& step : definite(sequence)) out << "\n  " << step;
  return out;
}

// Blocks that are allocated and unwritten are data once a page of them has been read, by anybody.
std::vector<Step> definite(const Sequence& sequence) {
  std::vector<Step> steps = sequence.steps;
  std::vector<Slots> slots(sequence.places.size());
  for (Step& step : steps) {
    step.actor %= static_cast<unsigned>(sequence.places.size());
    slots[step.actor].direct(step);
  }
  std::erase_if(steps, changes_no_owner);
  if (std::any_of(steps.begin(), steps.end(), allocates)) std::erase_if(steps, seeks_holes);
  return steps;
}

}  // namespace ssi::view
