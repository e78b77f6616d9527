// SPDX-License-Identifier: LGPL-2.1-or-later
// What is printed for people: columns as wide as their longest entry, and text from elsewhere made harmless.
#pragma once

#include <string>
#include <vector>

#include "common/printable.h"

namespace ssi {

using Row = std::vector<std::string>;

// All rows have as many cells as the first, which is the heading; columns are aligned, cells made printable.
std::string table(std::vector<Row> rows);

std::string mebibytes(double bytes);  // "12 MiB"

}  // namespace ssi
