// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/stubs.h"

#include <sys/stat.h>

#include <algorithm>

namespace ssi {

void Stubs::add_system(std::uint64_t root) {
  for (const auto& [name, mode] : {std::pair{"proc", 0555u}, {"sys", 0555u}, {"dev", 0755u}}) {
    wire::Attr attr;
    attr.mode = S_IFDIR | mode;
    attr.nlink = 2;
    at({root, name}, attr).system = true;
  }
}

Stubs::Stub& Stubs::at(const wire::Name& name, const wire::Attr& attr) {
  if (auto* known = find(name.parent, name.name)) {
    if (known->attr.ino == 0) known->attr.ino = attr.ino;
    return *known;
  }
  const auto node = next_++;
  names_.emplace(std::pair{name.parent, name.name}, node);
  return stubs_.emplace(node, Stub{node, name, attr, 0, false}).first->second;
}

Stubs::Stub* Stubs::find(std::uint64_t parent, const std::string& name) {
  const auto found = names_.find({parent, name});
  return found == names_.end() ? nullptr : find(found->second);
}

Stubs::Stub* Stubs::find(std::uint64_t node) {
  const auto found = stubs_.find(node);
  return found == stubs_.end() ? nullptr : &found->second;
}

void Stubs::forget(std::uint64_t node, std::uint64_t count) {
  auto* stub = find(node);
  if (!stub) return;
  stub->kernel -= std::min(count, stub->kernel);
  if (stub->kernel != 0 || stub->system) return;
  names_.erase({stub->name.parent, stub->name.name});
  stubs_.erase(node);
}

}  // namespace ssi
