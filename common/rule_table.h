// SPDX-License-Identifier: LGPL-2.1-or-later
// Reading rules as they are written: the [[app]] tables of a file.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "common/config.h"
#include "common/toml_table.h"

namespace ssi {

toml_table::Read read_policy(Policy& into);
toml_table::Read read_fallback(Fallback& into);
toml_table::Read read_bytes(std::uint64_t& into);

// Of [defaults], what a rule takes where it says nothing itself.
using RuleDefaults = std::tuple<Policy, Fallback, double, double, std::uint64_t>;
inline RuleDefaults rule_defaults(const Config& config) {
  return {config.policy, config.fallback, config.min_seconds, config.grace, config.undo};
}

// Appends the rules of `table`, which is `file`'s; what one doesn't say is as in `defaults`.
Status read_rules(const std::string& file, const toml::table& table, const Config& defaults,
                  std::vector<Rule>& into);

}  // namespace ssi
