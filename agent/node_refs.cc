// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/node_refs.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace ssi {

void NodeRefs::hold(std::uint64_t node) {
  auto& use = uses_[node];
  ++use.given;
  ++use.held;
}

void NodeRefs::hold_again(std::uint64_t node) {
  const auto use = uses_.find(node);
  if (use == uses_.end()) std::abort();  // nothing keeps it
  ++use->second.held;
}

void NodeRefs::pass(std::uint64_t node) {
  const auto use = uses_.find(node);
  if (use == uses_.end() || use->second.held == 0) std::abort();  // passed what we never held
  --use->second.held;
  ++use->second.kernel;
}

std::optional<wire::Forgotten> NodeRefs::drop(std::uint64_t node) {
  const auto use = uses_.find(node);
  if (use == uses_.end() || use->second.held == 0) std::abort();
  --use->second.held;
  return settle(use);
}

std::optional<wire::Forgotten> NodeRefs::forget(std::uint64_t node, std::uint64_t count) {
  const auto use = uses_.find(node);
  if (use == uses_.end()) return std::nullopt;  // the root
  use->second.kernel -= std::min(count, use->second.kernel);
  return settle(use);
}

std::optional<wire::Forgotten> NodeRefs::settle(std::unordered_map<std::uint64_t, Use>::iterator use) {
  if (use->second.held != 0 || use->second.kernel != 0) return std::nullopt;
  const wire::Forgotten all{use->first, use->second.given};
  places_.erase(use->first);
  uses_.erase(use);
  return all;
}

std::vector<wire::Forgotten> NodeRefs::clear() {
  std::vector<wire::Forgotten> all;
  all.reserve(uses_.size());
  for (const auto& [node, use] : uses_) all.push_back({node, use.given});
  uses_.clear();
  places_.clear();
  return all;
}

void NodeRefs::place(std::uint64_t node, wire::Name at) {
  if (uses_.contains(node)) places_[node] = std::move(at);
}

std::uint64_t NodeRefs::parent_of(std::uint64_t node) const {
  const auto place = places_.find(node);
  return place == places_.end() ? 0 : place->second.parent;
}

bool NodeRefs::leads_to(const wire::Name& name, std::uint64_t node) const {
  // Bounded: two renames seen in the wrong order could make a ring of places.
  for (std::size_t depth = 0; node != root_ && depth < 4096; ++depth) {
    const auto place = places_.find(node);
    if (place == places_.end()) return false;
    if (place->second.parent == name.parent && place->second.name == name.name) return true;
    node = place->second.parent;
  }
  return false;
}

std::string NodeRefs::name_of(std::uint64_t node) const {
  const auto found = places_.find(node);
  return found == places_.end() ? std::string() : found->second.name;
}

std::string NodeRefs::path_of(std::uint64_t node) const {
  std::string path;
  for (auto at = places_.find(node); at != places_.end() && path.size() < 4096;
       at = places_.find(at->second.parent))
    path.insert(0, "/" + at->second.name);
  return path;
}

}  // namespace ssi
