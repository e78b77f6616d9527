// SPDX-License-Identifier: LGPL-2.1-or-later
// What one guest's requests let the others of this deputy know, where home's kernel would not tell. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <utility>

namespace ssi {

struct FileId;

template <class... What>
class News {
 public:
  // `heard` must neither listen nor forget.
  void listen(const void* who, std::function<void(What...)> heard) { listeners_[who] = std::move(heard); }
  void forget(const void* who) { listeners_.erase(who); }
  void announce(What... what) const {
    for (const auto& [who, heard] : listeners_) heard(what...);
  }

 private:
  std::map<const void*, std::function<void(What...)>> listeners_;
};

// A lock was given up: whichever guest's job waits for it need not wait for its next try.
using Unlocks = News<>;

// A file got another name: inotify tells that only to who watches the file itself.
using Links = News<const FileId&>;

}  // namespace ssi
