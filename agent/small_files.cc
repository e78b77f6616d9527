// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/small_files.h"

#include <algorithm>
#include <utility>

namespace ssi {
namespace {

constexpr unsigned streak_from = 3;     // files in a row
constexpr std::size_t most_in_order = 20'000;  // files of a directory
constexpr std::size_t may_skip = 8;     // between two of them: directories, what is excluded or cached

}  // namespace

void SmallFiles::Order::make(std::vector<std::uint64_t> all) {
  nodes = std::move(all);
  index.clear();
  for (std::size_t i = 0; i < nodes.size(); ++i) index.emplace(nodes[i], i);
}

void SmallFiles::listed(std::uint64_t directory, bool from_start, const std::vector<Named>& files) {
  auto [at, is_new] = directories_.try_emplace(directory);
  auto& known = at->second;
  if (is_new)
    known.place = recent_.insert(recent_.begin(), directory);
  else
    recent_.splice(recent_.begin(), recent_, known.place);
  if (from_start) known.files.clear();
  for (const auto& file : files)
    if (file.node != 0 && known.files.size() < most_in_order) known.files.push_back(file);
  known.made = false;
  if (directories_.size() <= limits_.directories) return;
  directories_.erase(recent_.back());
  recent_.pop_back();
}

// Whether the file comes soon after the last one, in one of the two orders: in the same directory, or first in another one.
bool SmallFiles::goes_on(std::uint64_t directory, Directory& known, std::uint64_t node) {
  if (!std::exchange(known.made, true)) {
    std::vector<std::uint64_t> nodes;
    for (const auto& file : known.files) nodes.push_back(file.node);
    known.listed.make(std::move(nodes));
    auto sorted = known.files;
    std::sort(sorted.begin(), sorted.end(), [](const Named& a, const Named& b) { return a.name < b.name; });
    nodes.clear();
    for (const auto& file : sorted) nodes.push_back(file.node);
    known.named.make(std::move(nodes));
  }
  const auto follows = [&](const Order& order) {
    const auto found = order.index.find(node);
    if (found == order.index.end()) return false;
    const auto from = directory == last_directory_ ? last_index_ + 1 : 0;
    return found->second >= from && found->second < from + may_skip;
  };
  auto* order = by_name_ ? &known.named : &known.listed;
  if (!follows(*order)) {
    // Perhaps it is the other one: as long as there is no streak both are tried.
    const bool other = streak_ < streak_from;
    if (other) by_name_ = !by_name_;
    order = by_name_ ? &known.named : &known.listed;
    streak_ = 0;
  } else {
    ++streak_;
  }
  last_directory_ = directory;
  const auto found = order->index.find(node);
  last_index_ = found == order->index.end() ? 0 : found->second;
  return streak_ >= streak_from;
}

bool SmallFiles::read(std::uint64_t directory, std::uint64_t node, const Source& source, Done done) {
  const auto known = directories_.find(directory);
  if (known != directories_.end() && goes_on(directory, known->second, node))
    fetch_next(by_name_ ? known->second.named : known->second.listed, last_index_ + 1, source);
  const auto found = files_.find(node);
  if (found == files_.end()) return false;
  const auto file = found->second;
  if (file->lease != source.leased(node).lease || file->error) {
    drop(node);
    return false;
  }
  if (!file->here) {
    file->waiting.push_back(std::move(done));
    return true;
  }
  drop(node);  // the kernel has it from now on
  done(0, file->bytes);
  return true;
}

void SmallFiles::fetch_next(const Order& order, std::size_t from, const Source& source) {
  std::uint64_t bytes = 0;
  for (std::size_t i = from; i < order.nodes.size() && i < from + limits_.files && bytes < limits_.bytes; ++i) {
    const auto leased = source.leased(order.nodes[i]);
    if (leased.size == 0 || leased.size > largest) continue;
    bytes += leased.size;
    if (!files_.contains(order.nodes[i])) fetch(order.nodes[i], leased, source);
  }
}

void SmallFiles::fetch(std::uint64_t node, const Leased& leased, const Source& source) {
  while (kept_ + leased.size > limits_.kept && !order_.empty()) drop(order_.front());
  auto file = std::make_shared<File>();
  file->lease = leased.lease;
  file->size = leased.size;
  kept_ += leased.size;
  file->place = order_.insert(order_.end(), node);
  files_[node] = file;
  source.fetch(node, leased.size, [file](int error, std::string_view bytes) {
    file->here = true;
    file->error = error;
    file->bytes.assign(bytes);
    for (const auto& done : std::exchange(file->waiting, {})) done(error, file->bytes);
  });
}

void SmallFiles::drop(std::uint64_t node) {
  const auto found = files_.find(node);
  if (found == files_.end()) return;
  kept_ -= found->second->size;
  order_.erase(found->second->place);
  files_.erase(found);
}

}  // namespace ssi
