// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace ssi {

std::string table(std::vector<Row> rows) {
  std::vector<std::size_t> widths;
  for (auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = printable(row[i]);
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string mebibytes(double bytes) {
  return fmt::format("{:.0f} MiB", bytes / (1 << 20));
}

}  // namespace ssi
