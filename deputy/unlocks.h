// SPDX-License-Identifier: LGPL-2.1-or-later
// News that a lock on one of home's files was given up through this deputy: whichever guest's job waits for it
// need not wait for its next try. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <utility>

namespace ssi {

class Unlocks {
 public:
  // `heard` must neither listen nor forget.
  void listen(const void* who, std::function<void()> heard) { listeners_[who] = std::move(heard); }
  void forget(const void* who) { listeners_.erase(who); }
  void announce() const {
    for (const auto& [who, heard] : listeners_) heard();
  }

 private:
  std::map<const void*, std::function<void()>> listeners_;
};

}  // namespace ssi
