// SPDX-License-Identifier: LGPL-2.1-or-later
// Changes that were acknowledged to the tasks that made them, and that home is not known to have made yet. What asks home for
// something that they bear on waits for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ssi {

class Acknowledged {
 public:
  struct Change {
    std::uint64_t job = 0;             // whose; 0: not known
    std::vector<std::uint64_t> nodes;  // of which home would say what is not true yet
    std::size_t bytes = 0;
    bool is_content = false;  // of a file alone: neither its name nor its attributes
  };
  using Number = std::uint64_t;

  // `hurry` is called when somebody begins to wait: what is held back is to be sent.
  explicit Acknowledged(std::function<void()> hurry = [] {}) : hurry_(std::move(hurry)) {}

  Number begin(Change change);
  void grow(Number number, std::size_t bytes);
  // Home has answered. Who waited for it is called by go_on(), so that the answer can be made use of first.
  void end(Number number);
  void go_on();

  bool none() const { return changes_.empty(); }
  bool has(std::uint64_t node) const { return nodes_.contains(node); }
  std::size_t bytes() const { return bytes_; }

  // Call `f` when what was acknowledged by now is done: of a node; of a job (0: of all). At once, or from go_on().
  void when_done_with(std::uint64_t node, std::function<void()> f);
  void when_done_for(std::uint64_t job, std::function<void()> f);
  // Of a job, and of others all but content: what a change of names by that job has to come behind. (Not behind 4 MiB that another
  // one is writing, of which it can know nothing: who looks at a file waits for its content.)
  void when_done_before(std::uint64_t job, std::function<void()> f);

  bool has_room(std::size_t bytes) const { return crowded_.empty() && bytes_ <= bytes; }
  // Calls `f` when no more than so many bytes are on their way, in the order of the calls.
  void when_room(std::size_t bytes, std::function<void()> f);

 private:
  using Numbers = std::set<Number>;
  struct Waiting {
    Number last;                   // and all before it
    std::uint64_t node = 0, job = 0;  // both 0: of all
    bool names = false;               // besides, of all jobs what is not content
    std::function<void()> f;
  };
  bool is_done(const Waiting& waiting) const;
  void wait(Waiting waiting);

  std::function<void()> hurry_;
  Number last_ = 0;
  std::size_t bytes_ = 0;
  std::map<Number, Change> changes_;
  std::unordered_map<std::uint64_t, Numbers> nodes_, jobs_;
  Numbers names_;  // what is not content
  std::list<Waiting> waiting_;
  struct Crowded {
    std::size_t bytes;
    std::function<void()> f;
  };
  std::list<Crowded> crowded_;
};

}  // namespace ssi
