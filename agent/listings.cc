// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/listings.h"

#include <utility>

namespace ssi {
namespace {

constexpr unsigned fetch_at = 3;                 // names that are asked for one by one before
constexpr std::size_t most_directories = 4'000;  // that names were asked for in

}  // namespace

Listings::Directory& Listings::at(std::uint64_t directory) {
  const auto [found, is_new] = directories_.try_emplace(directory);
  if (is_new)
    found->second.place = recent_.insert(recent_.begin(), directory);
  else
    recent_.splice(recent_.begin(), recent_, found->second.place);
  return found->second;
}

std::optional<std::uint64_t> Listings::find(std::uint64_t directory, const std::string& name) {
  const auto known = directories_.find(directory);
  if (known == directories_.end()) return {};
  auto& names = at(directory).names;
  const auto found = names.find(name);
  if (found != names.end()) return found->second == unknown ? std::nullopt : std::optional(found->second);
  return known->second.complete ? std::optional<std::uint64_t>(0) : std::nullopt;
}

bool Listings::asks(std::uint64_t directory) {
  auto& known = at(directory);
  // The least used of those of which nothing is known but that they were asked in.
  if (recent_.size() > most_directories)
    if (const auto last = directories_.find(recent_.back()); last->second.names.empty()) {
      recent_.pop_back();
      directories_.erase(last);
    }
  if (known.complete) return false;  // a name that changes too often
  return ++known.asked == fetch_at;
}

std::vector<std::uint64_t> Listings::add(std::uint64_t directory, const std::string& name, std::uint64_t node) {
  auto gone = make_room(directory);
  const auto [found, is_new] = at(directory).names.try_emplace(name, unknown);
  const auto former = std::exchange(found->second, node);
  if (is_new) ++size_;
  if (former != unknown && former != 0) gone.push_back(former);
  return gone;
}

void Listings::set_unknown(std::uint64_t directory, const std::string& name) {
  if (at(directory).names.try_emplace(name, unknown).second) ++size_;
}

std::uint64_t Listings::begin(std::uint64_t directory) {
  return at(directory).fetch = ++fetches_;
}

bool Listings::is_fetching(std::uint64_t directory, std::uint64_t number) const {
  const auto known = directories_.find(directory);
  return known != directories_.end() && known->second.fetch == number;
}

void Listings::give_up(std::uint64_t directory) {
  at(directory).fetch = 0;
}

void Listings::set_complete(std::uint64_t directory) {
  auto& known = at(directory);
  known.complete = true;
  known.fetch = 0;
}

std::optional<std::uint64_t> Listings::forget(std::uint64_t directory, const std::string& name) {
  const auto known = directories_.find(directory);
  if (known == directories_.end()) return {};
  const auto found = known->second.names.find(name);
  if (found == known->second.names.end()) {
    // What has come, or gone, while the pages arrive may be in none of them.
    if (known->second.complete || known->second.fetch != 0) set_unknown(directory, name);
    return {};
  }
  const auto former = std::exchange(found->second, unknown);
  return former == unknown || former == 0 ? std::nullopt : std::optional(former);
}

bool Listings::is_complete(std::uint64_t directory) const {
  const auto known = directories_.find(directory);
  return known != directories_.end() && known->second.complete;
}

void Listings::set_incomplete(std::uint64_t directory) {
  const auto known = directories_.find(directory);
  if (known == directories_.end()) return;
  known->second.complete = false;
  known->second.fetch = 0;
  known->second.asked = 0;
}

std::vector<std::uint64_t> Listings::forget(std::uint64_t directory) {
  std::vector<std::uint64_t> gone;
  const auto known = directories_.find(directory);
  if (known == directories_.end()) return gone;
  for (const auto& [name, node] : known->second.names)
    if (node != unknown && node != 0) gone.push_back(node);
  size_ -= known->second.names.size();
  recent_.erase(known->second.place);
  directories_.erase(known);
  return gone;
}

std::vector<std::uint64_t> Listings::clear() {
  std::vector<std::uint64_t> gone;
  while (!recent_.empty()) {
    const auto some = forget(recent_.back());
    gone.insert(gone.end(), some.begin(), some.end());
  }
  return gone;
}

// Never at the cost of the directory that is being filled: one that is too large by itself stays as it is.
std::vector<std::uint64_t> Listings::make_room(std::uint64_t for_directory) {
  std::vector<std::uint64_t> gone;
  while (size_ >= most_ && !recent_.empty() && recent_.back() != for_directory) {
    const auto some = forget(recent_.back());
    gone.insert(gone.end(), some.begin(), some.end());
  }
  return gone;
}

}  // namespace ssi
