// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/home_needs.h"

#include <utility>

namespace ssi {

void HomeNeeds::remember(HomeNeed need) {
  if (needs_.size() >= commands_kept && !needs_.contains(need.key)) needs_.erase(needs_.begin());
  auto key = need.key;
  needs_[std::move(key)] = std::move(need);
}

std::optional<std::string> HomeNeeds::of(const std::string& key, double now) const {
  const auto found = needs_.find(key);
  if (found == needs_.end() || now - found->second.seen > seconds_kept) return std::nullopt;
  const auto& what = found->second.what;
  return what.starts_with("needs ") ? "needed " + what.substr(6) : what;
}

}  // namespace ssi
