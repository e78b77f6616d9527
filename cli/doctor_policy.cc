// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/doctor_policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/table.h"
#include "common/config.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr std::size_t matches_shown = 5;

void append(std::vector<PolicyLine>& lines, std::vector<ExportRule> rules, const std::string& from) {
  for (auto& rule : rules) {
    auto matches = matches_of(rule);
    lines.push_back({std::move(rule), from, std::move(matches)});
  }
}

std::string shown(const PolicyLine& line) {
  if (line.matches.empty()) return "nothing now";
  if (line.matches.size() == 1 && line.matches[0] == line.rule.path) return "";
  std::string text;
  for (std::size_t i = 0; i < std::min(line.matches.size(), matches_shown); ++i)
    text += (i ? " " : "") + line.matches[i];
  if (line.matches.size() > matches_shown)
    text += fmt::format(" and {} more", line.matches.size() - matches_shown);
  return text;
}

}  // namespace

const char* word_of(Kept kept) {
  switch (kept) {
    case Kept::read_only:
      return "read-only";
    case Kept::absent:
      return "absent";
    case Kept::hidden:
      return "hidden";
    default:
      return "";
  }
}

// Each file by itself, so that it is known which of them says what.
Result<std::vector<PolicyLine>> policy_lines() {
  std::vector<PolicyLine> lines;
  const std::string none;  // ENOENT: as if there were no such file
  for (const auto& [file, config] :
       {std::pair(paths::user_config(), load_config(none, paths::user_config(), none)),
        std::pair(std::string(paths::system_config), load_config(paths::system_config, none, none))}) {
    if (!config) return tl::make_unexpected(config.error());
    append(lines, export_rules(config->exports), file);
  }
  append(lines, default_export_rules(), "default");
  return lines;
}

std::string policy_text(const std::vector<PolicyLine>& lines) {
  std::vector<Row> rows = {{"KEPT", "PATH", "FROM", "NOW"}};
  std::size_t idle = 0;
  for (const auto& line : lines) {
    if (line.matches.empty() && line.from == "default")
      ++idle;
    else
      rows.push_back({word_of(line.rule.kept), line.rule.path, line.from, shown(line)});
  }
  auto text = table(std::move(rows));
  if (idle) text += fmt::format("{} more of the defaults match nothing now\n", idle);
  return text;
}

}  // namespace ssi
