// SPDX-License-Identifier: LGPL-2.1-or-later
// Commands that met in a guest what only home has, so that they stay home at once the next time. Pure.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

namespace ssi {

struct HomeNeed {
  std::string key;   // of the command, its arguments and its directory: other arguments may need nothing
  std::string what;  // "needs /home/u/.ssh/id_rsa, which is hidden from guests"
  double seen = 0;   // seconds since the epoch
};

class HomeNeeds {
 public:
  static constexpr double seconds_kept = 24 * 60 * 60;
  static constexpr std::size_t commands_kept = 10'000;

  void remember(HomeNeed need);
  // "needed ...", when that was seen lately.
  std::optional<std::string> of(const std::string& key, double now) const;

 private:
  std::unordered_map<std::string, HomeNeed> needs_;
};

}  // namespace ssi
