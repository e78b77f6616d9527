// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/desktop_entry.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ssi {
namespace {

constexpr std::string_view main_group = "[Desktop Entry]", action_group = "[Desktop Action ",
                           mark = "X-Ssi-Copy-Of";

std::string_view trimmed(std::string_view text) {
  constexpr auto blanks = " \t\r";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

struct Line {
  std::string_view whole, group, key,
      value;  // all but the first trimmed; without a key it is a comment, or the group's own
};

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  std::string_view group;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    Line line{text.substr(0, end), {}, {}, {}};
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto content = trimmed(line.whole);
    if (content.starts_with('[')) group = content;
    const auto equals = content.find('=');
    if (!content.starts_with('[') && !content.starts_with('#') && equals != content.npos) {
      line.key = trimmed(content.substr(0, equals));
      line.value = trimmed(content.substr(equals + 1));
    }
    line.group = group;
    lines.push_back(line);
  }
  return lines;
}

bool is_command(const Line& line) {
  return line.key == "Exec" && !line.value.empty() &&
         (line.group == main_group || line.group.starts_with(action_group));
}

// What the main group says of a key.
std::string_view said(const std::vector<Line>& lines, std::string_view key) {
  for (const auto& line : lines)
    if (line.group == main_group && line.key == key) return line.value;
  return {};
}

// Behind the main group's head. A program in quotes is not looked for: few are, and what TryExec says has none.
std::string own_lines(const std::vector<Line>& lines, std::string_view origin) {
  std::string own = std::string(mark) + "=" + std::string(origin) + "\nDBusActivatable=false\n";
  const auto command = said(lines, "Exec");
  if (said(lines, "TryExec").empty() && !command.starts_with('"'))
    own += "TryExec=" + std::string(command.substr(0, command.find_first_of(" \t"))) + "\n";
  return own;
}

}  // namespace

Result<std::string> diverted_entry(std::string_view text, std::string_view prefix, std::string_view origin) {
  const auto lines = lines_of(text);
  if (said(lines, "Exec").empty())
    return failure(std::string(origin) + ": starts no program: it has no Exec=");
  std::string made;
  for (const auto& line : lines) {
    if (line.group == main_group && (line.key == "DBusActivatable" || line.key == mark)) continue;
    if (is_command(line))
      made += "Exec=" + std::string(prefix) + " " + std::string(line.value) + "\n";
    else
      made += std::string(line.whole) + "\n";
    if (line.group == main_group && trimmed(line.whole) == main_group) made += own_lines(lines, origin);
  }
  return made;
}

bool is_diverted_entry(std::string_view text) {
  return !said(lines_of(text), mark).empty();
}

}  // namespace ssi
