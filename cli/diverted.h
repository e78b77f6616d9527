// SPDX-License-Identifier: LGPL-2.1-or-later
// The commands that the shim diverts, by name, for the ways that reach where the shim cannot.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// The basenames, sorted, from a table that is compiled anew.
Result<std::vector<std::string>> diverted_names();

// Those of them that a link in `directory` is for: what config.toml names, and of the rules that come with ssi what PATH finds elsewhere.
// Else `command -v` would tell of programs that are not there.
Result<std::vector<std::string>> names_to_link(const std::string& directory);

// Every file that a search of PATH for one of these names may end at, without links, each once.
std::vector<std::string> programs_named(const std::vector<std::string>& names);

}  // namespace ssi
