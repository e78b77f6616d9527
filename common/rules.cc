// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/rules.h"

#include <fnmatch.h>

#include <algorithm>

namespace ssi {
namespace {

bool fits(const std::string& pattern, const std::string& text, int flags) {
  return ::fnmatch(pattern.c_str(), text.c_str(), flags) == 0;
}

// In a path a '*' stays within its folder.
bool names_program(const std::string& pattern, const std::string& path) {
  if (pattern.find('/') != std::string::npos) return fits(pattern, path, FNM_PATHNAME);
  return fits(pattern, path.substr(path.rfind('/') + 1), 0);
}

// "/dev/*" is to match "/dev/dri/card0" as well.
bool any_argument(const std::vector<std::string>& patterns, const std::vector<std::string>& argv) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) {
    return std::any_of(argv.begin() + (argv.empty() ? 0 : 1), argv.end(),
                       [&](const auto& argument) { return fits(pattern, argument, 0); });
  });
}

bool arguments_fit(const Rule& rule, const std::vector<std::string>& argv) {
  return !any_argument(rule.not_args, argv) && (rule.when_args.empty() || any_argument(rule.when_args, argv));
}

}  // namespace

bool is_glob(const std::string& pattern) {
  return pattern.find_first_of("*?[") != std::string::npos;
}

std::optional<RuleMatch> match_rule(const Config& config, const std::string& path,
                                    const std::vector<std::string>& argv) {
  for (std::size_t i = 0; i < config.apps.size(); i++) {
    const auto& rule = config.apps[i];
    const auto pattern = std::find_if(rule.match.begin(), rule.match.end(),
                                      [&](const auto& it) { return names_program(it, path); });
    if (pattern != rule.match.end() && arguments_fit(rule, argv)) return RuleMatch{i, *pattern};
  }
  return {};
}

const Rule* find_rule(const Config& config, const std::string& path, const std::vector<std::string>& argv) {
  const auto found = match_rule(config, path, argv);
  return found ? &config.apps[found->index] : nullptr;
}

}  // namespace ssi
