// SPDX-License-Identifier: LGPL-2.1-or-later
// Tables for people.
#pragma once

#include <string>
#include <vector>

namespace ssi {

// Names come from guests' reports: nothing in them may steer the terminal.
std::string printable(const std::string& text);

// Rows of equally many cells, the first row their headings; columns are aligned. Cells are made printable.
std::string table(std::vector<std::vector<std::string>> rows);

}  // namespace ssi
