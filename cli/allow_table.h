// SPDX-License-Identifier: LGPL-2.1-or-later
// The file of common/allow_table.h as bytes. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace ssi {

using AllowedNames = std::map<std::string, std::uint32_t>;  // basename -> index of its rule in Config::apps

// `ssirun` is its absolute path, `flags` those of allow_header. Fails when the table would be larger than the shim takes.
Result<std::string> make_allow_table(const AllowedNames& names, const std::string& ssirun,
                                     std::uint32_t generation, std::uint32_t flags = 0);

// The rule that a table has for a basename. Nothing as well for bytes that are no table.
std::optional<std::uint32_t> look_up(std::string_view table, const std::string& basename);

// All its basenames, sorted.
std::vector<std::string> names_in(std::string_view table);

}  // namespace ssi
