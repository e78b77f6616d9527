// SPDX-License-Identifier: LGPL-2.1-or-later
// Which [[app]] of the configuration a command falls under. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"

namespace ssi {

struct RuleMatch {
  std::size_t index = 0;  // in Config::apps
  std::string pattern;    // of its `match`, that fits
};

// The first rule that matches wins. A rule matches when one of its `match` does (without '/': the basename,
// else the whole path; both may be globs), no argument matches one of `not_args`, and, if it has `when_args`,
// at least one argument matches one of those. argv[0] is no argument.
std::optional<RuleMatch> match_rule(const Config& config, const std::string& path,
                                    const std::vector<std::string>& argv);

// The same; nullptr when none matches. Points into `config`.
const Rule* find_rule(const Config& config, const std::string& path, const std::vector<std::string>& argv);

bool is_glob(const std::string& pattern);

}  // namespace ssi
