// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/diverted.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include "cli/allow.h"
#include "cli/allow_table.h"
#include "common/allow_folder.h"
#include "common/allow_table.h"
#include "common/config.h"
#include "common/paths.h"
#include "common/whole_file.h"

namespace ssi {

namespace {

Result<std::string> compiled_table() {
  if (auto compiled = compile_allow_list(); !compiled) return tl::make_unexpected(compiled.error());
  const auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  return read_whole(*state + "/" ALLOW_FILE);
}

// Somewhere but in `apart`, and not as a link to ssirun in another such folder.
bool is_on_path(const std::string& name, const std::string& apart) {
  const char* path = ::getenv("PATH");
  std::istringstream directories(path ? path : "/bin:/usr/bin");
  for (std::string directory; std::getline(directories, directory, ':');) {
    std::error_code missing;
    const auto file = std::filesystem::canonical((directory.empty() ? "." : directory) + "/" + name, missing);
    if (!missing && file.filename() != "ssirun" && std::filesystem::is_regular_file(file, missing) &&
        ::access(file.c_str(), X_OK) == 0 && !std::filesystem::equivalent(directory, apart, missing))
      return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::string>> diverted_names() {
  return compiled_table().map(names_in);
}

Result<std::vector<std::string>> names_to_link(const std::string& directory) {
  const auto config = load_config();
  if (!config) return tl::make_unexpected(config.error());
  const auto table = compiled_table();
  if (!table) return tl::make_unexpected(table.error());
  const auto own = [&](const std::string& name) {
    const auto rule = look_up(*table, name).value_or(0);
    return rule < config->apps.size() && !AllowFolder::has_made(config->apps[rule]);
  };
  auto names = names_in(*table);
  std::erase_if(names, [&](const auto& name) { return !own(name) && !is_on_path(name, directory); });
  return names;
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
