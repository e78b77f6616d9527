// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether what the kernel has cached of a file's content is still home's. A stamp is what open(2) found when
// that content began to be read; the same stamp at the next open means that nothing changed in between.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "common/wire.h"

namespace ssi {

class ContentStamps {
 public:
  // A file was opened and home said `attr`, at `now` (ns since the epoch, by our clock). True: the kernel may
  // keep what it has. A stamp is only remembered when its ctime has settled: within one tick of home's clock
  // a file can change twice and show the same time.
  bool keep(std::uint64_t node, const wire::Attr& attr, std::int64_t now);

  void forget(std::uint64_t node) { stamps_.erase(node); }

 private:
  // Home's tick (up to 10 ms), and what its clock may differ from ours: a guest off by more than 1 s is not
  // used.
  static constexpr std::int64_t settled = 2'000'000'000;

  struct Stamp {
    std::int64_t mtime = 0, ctime = 0;
    std::uint64_t size = 0;
    bool operator==(const Stamp&) const = default;
  };
  std::unordered_map<std::uint64_t, Stamp> stamps_;
};

}  // namespace ssi
