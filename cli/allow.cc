// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/allow.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "cli/allow_table.h"
#include "cli/options.h"
#include "common/allow_table.h"
#include "common/config.h"
#include "common/fd.h"
#include "common/input_size.h"
#include "common/paths.h"
#include "common/rules.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

std::string basename_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::vector<std::string> path_directories() {
  const char* path = ::getenv("PATH");
  std::vector<std::string> directories;
  std::istringstream rest(path ? path : "/bin:/usr/bin");
  for (std::string directory; std::getline(rest, directory, ':');)
    if (!directory.empty()) directories.push_back(directory);
  return directories;
}

std::vector<std::string> files_like(const std::string& pattern) {
  glob_t found{};
  ::glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> files(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return files;
}

// All names in PATH's folders. Each is read once, however many globs there are.
std::set<std::string> names_on_path() {
  std::set<std::string> names;
  for (const auto& directory : path_directories()) {
    std::error_code none;
    for (std::filesystem::directory_iterator it(directory, none), end; !none && it != end; it.increment(none))
      names.insert(it->path().filename());
  }
  return names;
}

// The shim looks basenames up and nothing else, so globs become what they match at this time.
std::vector<std::string> names_for(const std::string& pattern, const std::set<std::string>& on_path) {
  const auto glob = basename_of(pattern);
  if (!is_glob(glob)) return {glob};
  std::vector<std::string> names;
  if (pattern.find('/') == std::string::npos || pattern.starts_with(any_folder)) {
    std::ranges::copy_if(on_path, std::back_inserter(names), [&](const auto& name) {
      return ::fnmatch(glob.c_str(), name.c_str(), FNM_PERIOD) == 0;
    });
    return names;
  }
  for (const auto& file : files_like(pattern)) names.push_back(basename_of(file));
  return names;
}

// Ours are not to be diverted whatever the configuration says: round and round it would go.
bool is_own(const std::string& name) {
  return name.empty() || name == "ssi" || name == "ssirun" || name.rfind("ssi-", 0) == 0;
}

AllowedNames allowed_names(const Config& config) {
  AllowedNames names;
  const auto on_path = names_on_path();
  std::set<std::string> settled;  // an earlier rule keeps them at home whatever their arguments are
  for (std::size_t i = 0; i < config.apps.size(); i++) {
    const auto& rule = config.apps[i];
    const bool stays = !reason_for_home(rule).empty();
    for (const auto& pattern : rule.match) {
      // By its path, or on conditions, one keeps some commands of a name at home, not all.
      if (stays && (!is_unconditional(rule) || pattern.find('/') != std::string::npos)) continue;
      for (const auto& name : names_for(pattern, on_path)) {
        if (stays)
          settled.insert(name);
        else if (!is_own(name) && !settled.count(name))
          names.emplace(name, static_cast<std::uint32_t>(i));
      }
    }
  }
  return names;
}

Result<std::string> table_file() {
  auto state = paths::state_dir();
  if (!state) return state;
  return *state + "/" ALLOW_FILE;
}

// Everybody is to read it, whatever root's umask is.
Result<std::string> make_system_folder() {
  const std::string file = ALLOW_SYSTEM_FILE;
  const auto folder = file.substr(0, file.rfind('/'));
  if (::mkdir(folder.c_str(), 0755) == 0)
    ::chmod(folder.c_str(), 0755);
  else if (errno != EEXIST)
    return os_error("make " + folder);
  return file;
}

// As the shim finds it: the user's, or where he has none that of the system. One that it would not trust is an error.
Result<std::string> table_in_force() {
  const auto own = table_file();
  for (const auto& file : {own ? *own : std::string(), std::string(ALLOW_SYSTEM_FILE)}) {
    struct stat st {};
    if (::stat(file.c_str(), &st) != 0) continue;
    if (!S_ISREG(st.st_mode)) return failure(file + ": is no file; remove it");
    if (auto status = check_trusted(file, st); !status) return tl::make_unexpected(status.error());
    return read_whole(file);
  }
  return std::string();
}

// Same but for its time, and such as the shim trusts.
bool is_unchanged(int old, std::string table) {
  struct stat st {};
  std::string bytes(table.size() + 1, '\0');
  if (::fstat(old, &st) != 0 || st.st_uid != ::geteuid() || st.st_mode != (S_IFREG | 0644) ||
      ::pread(old, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(table.size()))
    return false;
  bytes.resize(table.size());
  constexpr auto at = offsetof(allow_header, generation);
  table.replace(at, sizeof(std::uint32_t), bytes, at, sizeof(std::uint32_t));
  return bytes == table;
}

// Processes that have the old table mapped see the mark. Behind the rename: what they map upon it is the new one. Best effort: who
// may not write the old one, root's perhaps, has done what he could.
void mark_replaced(int old) {
  std::uint32_t magic = 0, yes = 1;
  if (::pread(old, &magic, sizeof magic, offsetof(allow_header, magic)) == sizeof magic &&
      magic == ALLOW_MAGIC)
    std::ignore = ::pwrite(old, &yes, sizeof yes, offsetof(allow_header, replaced));
}

// Not in place: processes have the old one mapped. One after the other, or a table that another compile has put there meanwhile would
// not be marked. The same table stays, so that each `ssi shell` does not have them all map it anew.
Status replace_table(const std::string& file, const std::string& table) {
  const Fd lock(::open(file.substr(0, file.rfind('/')).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock) ::flock(lock.get(), LOCK_EX);  // some network file systems have none
  const Fd old(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (old && is_unchanged(old.get(), table)) return {};
  if (auto status = put_file(file, table, {.mode = 0644}); !status) return status;
  if (old) mark_replaced(old.get());
  return {};
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  for (const auto& directory : path_directories())
    if (const auto file = directory + "/" + name; ::access(file.c_str(), X_OK) == 0) return file;
  return name;
}

std::string what_happens(const Rule& rule) {
  if (rule.policy == Policy::local) return "runs at home";
  if (rule.gui) return "shows windows (gui): runs at home";
  const char* where =
      rule.policy == Policy::remote ? "runs in a guest" : "runs in a guest when that is faster";
  switch (rule.fallback) {
    case Fallback::local:
      return fmt::format("{}, at home when no guest can", where);
    case Fallback::fail:
      return fmt::format("{}, fails with status 125 when no guest can", where);
    case Fallback::wait:
      return fmt::format("{}, waits while no guest can", where);
  }
  return where;
}

int check(const Options& options, std::vector<std::string> argv) {
  auto config = load_config();
  if (!config) return options.failed(config.error().text());
  const auto path = find_program(argv[0]);
  std::error_code no_folder;  // it may have been removed: then no cwd_under holds
  const auto cwd = std::filesystem::current_path(no_folder).string();
  std::vector<std::string> environment;
  for (char** variable = environ; *variable; variable++) environment.emplace_back(*variable);
  const auto ruling = judge(*config, {path, argv, cwd, environment, [&] { return input_size(cwd, argv); }});
  for (const auto& miss : ruling.missed)
    fmt::print("{}: {} (\"{}\"): does not match: {}\n", path, place_of(*miss.rule), miss.pattern, miss.why);
  if (!ruling.rule) {
    fmt::print("{}: no rule matches: runs at home\n", path);
    return 0;
  }
  fmt::print("{}: {} (\"{}\"): {}\n", path, place_of(*ruling.rule), ruling.pattern,
             what_happens(*ruling.rule));
  if (!reason_for_home(*ruling.rule).empty()) return 0;
  const auto table = table_in_force();
  if (!table)
    fmt::print("{}; till then the shim diverts nothing\n", table.error().text());
  else if (!look_up(*table, basename_of(path)))
    fmt::print("the shim's table does not have it yet: 'ssi allow compile'\n");
  return 0;
}

int compile(const Options& options, AllowScope scope) {
  if (scope == AllowScope::system && ::geteuid() != 0)
    return options.failed("'compile --system' is for root");
  const auto count = compile_allow_list(scope);
  if (!count) return options.failed(count.error().text());
  const auto own = scope == AllowScope::user ? paths::user_config() + " nor in " : "";
  if (*count)
    fmt::print("{} names are diverted\n", *count);
  else
    fmt::print("nothing is diverted: there is no [[app]] for it in {}{}, and the shipped rules are off\n",
               own, paths::system_config);
  return 0;
}

}  // namespace

Result<std::size_t> compile_allow_list(AllowScope scope) {
  const bool is_users = scope == AllowScope::user;
  const auto config = is_users ? load_config() : load_config(paths::system_config, "", paths::allow_folder);
  if (!config) return tl::make_unexpected(config.error());
  const auto ssirun = paths::sibling("ssirun");
  if (!ssirun) return tl::make_unexpected(ssirun.error());
  const auto names = allowed_names(*config);
  const auto table = make_allow_table(names, *ssirun, static_cast<std::uint32_t>(std::time(nullptr)),
                                      config->reinject ? 0 : ALLOW_NO_REINJECT);
  if (!table) return tl::make_unexpected(table.error());
  const auto file = is_users ? table_file() : make_system_folder();
  if (!file) return tl::make_unexpected(file.error());
  if (auto status = replace_table(*file, *table); !status) return tl::make_unexpected(status.error());
  return names.size();
}

int allow_command(int argc, char** argv) {
  static constexpr char help[] =
      "usage: ssi allow compile [--system]\n"
      "       ssi allow check PATH [ARGUMENT...]\n"
      "The shim diverts the commands that the [[app]] tables of config.toml and of /etc/ssi/allow.d name.\n"
      "'compile' makes its table from them, and is to be run when they changed; with --system (root) the "
      "one\n"
      "for users who have none of their own, from /etc/ssi alone. 'check' tells which rule a command falls\n"
      "under and what would happen.\n";
  Options options("ssi allow", help);
  // What comes behind PATH is the command's own, options too.
  if (auto status = options.parse(std::min(argc, 2), argv)) return *status;
  const std::vector<std::string> rest(argv + std::min(argc, 2), argv + argc);
  const std::string what = options.words().empty() ? "" : options.words()[0];
  if (!rest.empty() && rest[0] == "--help") {
    fmt::print("{}", help);
    return 0;
  }
  if (what == "compile" && rest.empty()) return compile(options, AllowScope::user);
  if (what == "compile" && rest == std::vector<std::string>{"--system"})
    return compile(options, AllowScope::system);
  if (what == "check" && !rest.empty()) return check(options, rest);
  if (what == "compile") return options.usage_error(fmt::format("'compile' takes no '{}'", rest.back()));
  if (what == "check") return options.usage_error("'check' wants a program");
  return options.usage_error(what.empty() ? "what? 'compile' or 'check'" : fmt::format("unknown '{}'", what));
}

}  // namespace ssi
