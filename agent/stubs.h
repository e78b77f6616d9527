// SPDX-License-Identifier: LGPL-2.1-or-later
// Synthetic directories of the agent: where another file system is mounted on top of the view, be it another
// of home's or the guest's own /proc, /sys and /dev. They are empty, never change and are never invalidated:
// to invalidate a name that is a mount point unmounts it (measured).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/wire.h"

namespace ssi {

class Stubs {
 public:
  struct Stub {
    std::uint64_t node = 0;
    wire::Name name;
    wire::Attr attr;
    std::uint64_t kernel = 0;  // references
    bool system = false;       // of the guest: there even when home has none, and kept for ever
  };

  // Bit 62: no file system at home numbers its nodes that high. Numbers are not reused.
  static constexpr std::uint64_t first = 1ull << 62;
  static bool is_stub(std::uint64_t node) { return node >= first; }

  // Adds /proc, /sys and /dev to the root directory.
  void add_system(std::uint64_t root);

  // The stub at this name, made if there is none.
  Stub& at(const wire::Name& name, const wire::Attr& attr);

  Stub* find(std::uint64_t parent, const std::string& name);
  Stub* find(std::uint64_t node);
  bool covers(std::uint64_t parent, const std::string& name) { return find(parent, name) != nullptr; }
  void forget(std::uint64_t node, std::uint64_t count);

  template <class F>
  void each(F&& f) const {
    for (const auto& [node, stub] : stubs_) f(stub);
  }

 private:
  std::uint64_t next_ = first;
  std::unordered_map<std::uint64_t, Stub> stubs_;
  std::map<std::pair<std::uint64_t, std::string>, std::uint64_t> names_;
};

}  // namespace ssi
