// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/diverted.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "cli/allow.h"
#include "cli/allow_table.h"
#include "common/allow_table.h"
#include "common/paths.h"

namespace ssi {

Result<std::vector<std::string>> diverted_names() {
  if (auto compiled = compile_allow_list(); !compiled) return tl::make_unexpected(compiled.error());
  const auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  const auto file = *state + "/" ALLOW_FILE;
  std::ifstream table(file, std::ios::binary);
  if (!table) return os_error("read " + file, ENOENT);
  const std::string bytes{std::istreambuf_iterator<char>(table), {}};
  return names_in(bytes);
}

std::vector<std::string> programs_named(const std::vector<std::string>& names) {
  const char* path = ::getenv("PATH");
  std::set<std::string> found;
  std::istringstream directories(path ? path : "/bin:/usr/bin");
  for (std::string directory; std::getline(directories, directory, ':');)
    for (const auto& name : names) {
      std::error_code missing;
      const auto file =
          std::filesystem::canonical((directory.empty() ? "." : directory) + "/" + name, missing);
      if (!missing) found.insert(file);
    }
  return {found.begin(), found.end()};
}

}  // namespace ssi
