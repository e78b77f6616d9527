// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/rules.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <string_view>

namespace ssi {
namespace {

using Patterns = std::vector<std::string>;

bool fits(const std::string& pattern, const std::string& text, int flags = 0) {
  return ::fnmatch(pattern.c_str(), text.c_str(), flags) == 0;
}

bool fits_any(const Patterns& patterns, const std::string& text) {
  return std::ranges::any_of(patterns, [&](const auto& pattern) { return fits(pattern, text); });
}

// In a path a '*' stays within its folder; a pattern that begins with "**/" fits the end of one, from any folder on.
bool names_program(const std::string& pattern, const std::string& path) {
  if (!pattern.starts_with(any_folder)) {
    if (pattern.find('/') != std::string::npos) return fits(pattern, path, FNM_PATHNAME);
    return fits(pattern, path.substr(path.rfind('/') + 1));
  }
  const auto rest = pattern.substr(any_folder.size());
  for (std::size_t at = 0; at != std::string::npos; at = path.find('/', at)) {
    at += path[at] == '/';
    if (fits(rest, path.substr(at), FNM_PATHNAME)) return true;
  }
  return false;
}

std::string quoted(const Patterns& patterns) {
  return fmt::format("'{}'", fmt::join(patterns, "', '"));
}

// ---------------------------------------------------------- conditions: empty when it holds, else why it does not

// "/dev/*" is to match "/dev/dri/card0" as well.
std::string arguments_miss(const Rule& rule, const std::vector<std::string>& argv) {
  const std::vector<std::string> arguments(argv.begin() + (argv.empty() ? 0 : 1), argv.end());
  const auto fitting = [&](const Patterns& patterns) {
    return std::ranges::find_if(arguments, [&](const auto& it) { return fits_any(patterns, it); });
  };
  if (const auto bad = fitting(rule.not_args); bad != arguments.end())
    return fmt::format("argument '{}' is in not_args", *bad);
  if (!rule.when_args.empty() && fitting(rule.when_args) == arguments.end())
    return fmt::format("no argument is in when_args ({})", quoted(rule.when_args));
  return {};
}

std::string environment_miss(const Rule& rule, const std::vector<std::string>& environment) {
  for (const auto& wanted : rule.when_env) {
    const auto set = std::ranges::find_if(environment, [&, start = wanted.first + "="](const auto& it) {
      return it.starts_with(start) && fits(wanted.second, it.substr(start.size()));
    });
    if (set == environment.end()) return fmt::format("when_env wants {}={}", wanted.first, wanted.second);
  }
  for (const auto& variable : environment)
    if (const auto name = variable.substr(0, variable.find('=')); fits_any(rule.not_env, name))
      return fmt::format("{} is set (not_env)", name);
  return {};
}

std::string folder_miss(const Rule& rule, const std::string& cwd) {
  const auto holds = [&](const auto& folder) { return fits(folder, cwd) || fits(folder + "/*", cwd); };
  if (rule.cwd_under.empty() || std::ranges::any_of(rule.cwd_under, holds)) return {};
  return fmt::format("{} is not in cwd_under ({})", cwd, quoted(rule.cwd_under));
}

std::string input_miss(const Rule& rule, const std::function<std::uint64_t()>& input_bytes) {
  if (rule.min_input_mb <= 0) return {};
  const double mb = input_bytes ? static_cast<double>(input_bytes()) / 1e6 : 0;
  if (mb >= rule.min_input_mb) return {};
  return fmt::format("the input has {:.1f} MB, min_input_mb is {}", mb, rule.min_input_mb);
}

std::string miss(const Rule& rule, const Command& command) {
  auto why = arguments_miss(rule, command.argv);
  if (why.empty()) why = environment_miss(rule, command.environment);
  if (why.empty()) why = folder_miss(rule, command.cwd);
  if (why.empty()) why = input_miss(rule, command.input_bytes);
  return why;
}

}  // namespace

bool is_glob(const std::string& pattern) {
  return pattern.find_first_of("*?[") != std::string::npos;
}

bool is_unconditional(const Rule& rule) {
  return rule.not_args.empty() && rule.when_args.empty() && rule.when_env.empty() && rule.not_env.empty() &&
         rule.cwd_under.empty() && rule.min_input_mb <= 0;
}

std::string place_of(const Rule& rule) {
  return fmt::format("{}: rule {}", rule.file, rule.number);
}

std::string reason_for_home(const Rule& rule) {
  if (rule.policy == Policy::local) return place_of(rule) + " says local";
  if (rule.gui) return place_of(rule) + " says that it shows windows (gui)";
  return {};
}

Ruling judge(const Config& config, const Command& command) {
  Ruling ruling;
  for (const auto& rule : config.apps) {
    const auto pattern =
        std::ranges::find_if(rule.match, [&](const auto& it) { return names_program(it, command.path); });
    if (pattern == rule.match.end()) continue;
    if (auto why = miss(rule, command); !why.empty()) {
      ruling.missed.push_back({&rule, *pattern, std::move(why)});
      continue;
    }
    ruling.rule = &rule;
    ruling.pattern = *pattern;
    break;
  }
  return ruling;
}

std::string without_variables(const std::string& environment, const std::vector<std::string>& patterns) {
  if (patterns.empty()) return environment;
  std::string kept;
  for (std::size_t at = 0; at < environment.size();) {
    const auto end = std::min(environment.find('\0', at), environment.size() - 1) + 1;
    const auto entry = environment.substr(at, end - at);
    if (!fits_any(patterns, entry.substr(0, entry.find_first_of(std::string_view("=\0", 2))))) kept += entry;
    at = end;
  }
  return kept;
}

}  // namespace ssi
