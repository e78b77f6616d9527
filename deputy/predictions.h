// SPDX-License-Identifier: LGPL-2.1-or-later
// What a command will need, from its last runs. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

namespace ssi {

// One run that ended well.
struct PastRun {
  bool at_home = false;
  double work = 0;  // seconds of a speed-1.0 processor; at home, where only the time is known, at least that
  std::uint64_t memory = 0;  // bytes at its peak, 0: not known
};

struct Prediction {
  double work = 0;           // median of the last runs
  std::uint64_t memory = 0;  // what to ask for: the median and head room; 0: not known
};

class Predictions {
 public:
  static constexpr std::size_t runs_kept = 5;  // of one command: it may change with its input
  static constexpr std::size_t commands_kept = 50'000;

  void remember(const std::string& key, const PastRun& run);
  std::optional<Prediction> of(const std::string& key) const;

 private:
  std::unordered_map<std::string, std::deque<PastRun>> runs_;
};

}  // namespace ssi
