// SPDX-License-Identifier: LGPL-2.1-or-later
// A guest's changes of content that threads are at, and what has to wait for them: so home does all in the order in which it was
// asked to, and nobody learns of a change before it is made. Loop thread only.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

namespace ssi {

class ChangesUnderWay {
 public:
  void begin() { ++under_way_; }
  void end() {
    --under_way_;
    go_on();
  }

  // Calls `f` when all that came before is done: at once, or from end().
  void when_done(std::function<void()> f) { add(true, std::move(f)); }

  // Calls `f` behind what waits: it begins a change, which keeps its own order with those that are under way.
  void in_turn(std::function<void()> f) { add(false, std::move(f)); }

  bool none() const { return under_way_ == 0 && waiting_.empty(); }
  bool anything_waits() const { return !waiting_.empty(); }

 private:
  struct Waiting {
    bool for_all;
    std::function<void()> f;
  };
  void add(bool for_all, std::function<void()> f) {
    waiting_.push_back({for_all, std::move(f)});
    go_on();
  }
  // While something waits nothing begins but from here.
  void go_on() {
    if (std::exchange(going_on_, true)) return;
    while (!waiting_.empty() && (under_way_ == 0 || !waiting_.front().for_all)) {
      const auto next = std::move(waiting_.front().f);
      waiting_.pop_front();
      next();
    }
    going_on_ = false;
  }

  std::size_t under_way_ = 0;
  std::deque<Waiting> waiting_;
  bool going_on_ = false;
};

}  // namespace ssi
