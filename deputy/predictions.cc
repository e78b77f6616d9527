// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/predictions.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ssi {
namespace {

constexpr std::uint64_t spare_memory = 32 << 20;

template <class T>
T median(std::vector<T> values) {
  if (values.empty()) return {};
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void Predictions::remember(const std::string& key, const PastRun& run) {
  if (!std::isfinite(run.work) || run.work < 0) return;
  // At home it may have failed, which we do not learn, and failures are short. So a run there only shows that a command
  // takes longer than we thought.
  if (run.at_home) {
    const auto known = of(key);
    if (!known || run.work <= known->work) return;
  }
  if (runs_.size() >= commands_kept && !runs_.contains(key)) runs_.erase(runs_.begin());
  auto& runs = runs_[key];
  runs.push_back(run);
  if (runs.size() > runs_kept) runs.pop_front();
}

std::optional<Prediction> Predictions::of(const std::string& key) const {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return std::nullopt;
  std::vector<double> work;
  std::vector<std::uint64_t> memory;
  for (const auto& run : found->second) {
    work.push_back(run.work);
    if (run.memory > 0) memory.push_back(run.memory);
  }
  const auto peak = median(memory);
  return Prediction{median(work), peak > 0 ? peak + peak / 4 + spare_memory : 0};
}

}  // namespace ssi
