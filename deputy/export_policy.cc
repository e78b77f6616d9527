// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/export_policy.h"

#include <fnmatch.h>
#include <glob.h>
#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <set>

#include "common/log.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr const char* hidden_in_homes[] = {".ssh",
                                           ".gnupg",
                                           ".aws",
                                           ".kube",
                                           ".local/share/keyrings",
                                           ".local/state/ssi",
                                           ".mozilla",
                                           ".config/google-chrome",
                                           ".config/chromium",
                                           ".password-store",
                                           ".netrc"};

// What a login, a shell or a desktop session runs by itself.
constexpr const char* read_only_in_homes[] = {".bashrc",
                                              ".bash_profile",
                                              ".bash_login",
                                              ".bash_logout",
                                              ".bash_aliases",
                                              ".profile",
                                              ".zshrc",
                                              ".zshenv",
                                              ".zprofile",
                                              ".zlogin",
                                              ".zlogout",
                                              ".cshrc",
                                              ".tcshrc",
                                              ".login",
                                              ".kshrc",
                                              ".config/fish",
                                              ".xprofile",
                                              ".xinitrc",
                                              ".xsession",
                                              ".xsessionrc",
                                              ".pam_environment",
                                              ".local/bin",
                                              ".config/autostart",
                                              ".config/environment.d",
                                              ".config/systemd",
                                              ".config/ssi"};

bool is_glob(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

// The homes whose secrets we could read: our own, and of root everybody's.
std::set<std::string> homes() {
  std::set<std::string> found{paths::home_dir()};
  if (::geteuid() != 0) return found;
  ::setpwent();
  while (const auto* user = ::getpwent())
    if (user->pw_dir && user->pw_dir[0] == '/' && ::access(user->pw_dir, F_OK) == 0)
      found.insert(user->pw_dir);
  ::endpwent();
  return found;
}

std::string canonical(const std::string& path) {
  std::error_code error;
  const auto plain = std::filesystem::weakly_canonical(path, error);
  return error ? path : plain.string();
}

// For the log, where a name must not start a new line.
std::string printable(const std::string& path) {
  std::string text;
  for (const char c : path) {
    if (std::isprint(static_cast<unsigned char>(c)))
      text += c;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

void append(std::vector<std::string>& to, const std::vector<std::string>& paths) {
  for (const auto& path : paths)
    to.push_back(path.starts_with("~/") ? paths::home_dir() + path.substr(1) : path);
}

ExportRules rules_for_this_user(const ExportRules& added) {
  ExportRules rules;
  rules.hidden = {"/run/user"};
  rules.read_only = {"/etc/cron*", "/var/spool/cron", "/etc/ssi", "/var/lib/ssi"};
  for (const auto& home : homes()) {
    for (const auto* name : hidden_in_homes) rules.hidden.push_back(home + "/" + name);
    for (const auto* name : read_only_in_homes) rules.read_only.push_back(home + "/" + name);
  }
  if (auto dir = paths::state_dir()) rules.hidden.push_back(*dir);
  if (auto dir = paths::runtime_dir()) rules.hidden.push_back(*dir);
  rules.read_only.push_back(paths::user_config());
  append(rules.hidden, added.hidden);
  append(rules.read_only, added.read_only);
  return rules;
}

}  // namespace

ExportPolicy::ExportPolicy(const ExportRules& added) : rules_(rules_for_this_user(added)) {
  refresh();
}

ExportPolicy ExportPolicy::exactly(ExportRules rules) {
  ExportPolicy policy;
  policy.rules_ = std::move(rules);
  policy.refresh();
  return policy;
}

void ExportPolicy::refresh_if_old() {
  if (std::chrono::steady_clock::now() - refreshed_ >= std::chrono::seconds(1)) refresh();
}

void ExportPolicy::refresh() {
  refreshed_ = std::chrono::steady_clock::now();
  names_.clear();
  globs_.clear();
  ids_.clear();
  ways_.clear();
  way_paths_.clear();
  way_names_.clear();
  for (const auto& path : rules_.read_only) add(path, false);
  for (const auto& path : rules_.hidden) add(path, true);  // last: where both are said, hidden it is
}

void ExportPolicy::add(const std::string& path, bool hidden) {
  const std::filesystem::path given = std::filesystem::path(path).lexically_normal();
  const Rule rule{canonical(given.parent_path().string()), given.filename().string(), hidden};
  if (!given.is_absolute() || rule.name.empty()) return;
  add_ways(rule.dir);
  const auto full = rule.dir == "/" ? "/" + rule.name : rule.dir + "/" + rule.name;
  if (!is_glob(rule.name)) {
    names_[rule.name].push_back(rule);
    return learn(full, hidden);
  }
  globs_.push_back(rule);
  glob_t found{};
  if (::glob(full.c_str(), GLOB_NOSORT, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i) learn(found.gl_pathv[i], hidden);
  ::globfree(&found);
}

// Remembers which file that is; of a symbolic link, both the link and what it leads to.
void ExportPolicy::learn(const std::string& path, bool hidden) {
  struct statx status;
  if (stat_at(AT_FDCWD, path.c_str(), status) != 0) return;
  ids_[id_of(status)] = hidden;
  if (!S_ISLNK(status.stx_mode)) return;
  const auto target = canonical(path);
  if (target == "/" || stat_at(AT_FDCWD, target.c_str(), status) != 0) return;
  ids_[id_of(status)] = hidden;
}

void ExportPolicy::add_ways(std::string dir) {
  while (dir.size() > 1 && way_paths_.insert(dir).second) {
    struct statx status;
    if (stat_at(AT_FDCWD, dir.c_str(), status) == 0) ways_.insert(id_of(status));
    const auto slash = dir.rfind('/');
    way_names_.insert(dir.substr(slash + 1));
    dir.resize(slash);
  }
}

template <class DirPath>
const ExportPolicy::Rule* ExportPolicy::match(std::string_view name, const DirPath& dir) const {
  const Rule* best = nullptr;
  const std::string last(name);
  const auto consider = [&](const Rule& rule) {
    if (rule.dir == dir() && (!best || rule.hidden)) best = &rule;
  };
  if (const auto found = names_.find(last); found != names_.end())
    for (const auto& rule : found->second) consider(rule);
  for (const auto& rule : globs_)
    if (::fnmatch(rule.name.c_str(), last.c_str(), 0) == 0) consider(rule);
  return best;
}

const ExportPolicy::Rule* ExportPolicy::match(const Node& dir, std::string_view name) const {
  std::string path;
  return match(name, [&]() -> const std::string& {
    if (path.empty()) path = path_of(dir);
    return path;
  });
}

bool ExportPolicy::hides(const FileId& id) const {
  const auto found = ids_.find(id);
  return found != ids_.end() && found->second;
}

bool ExportPolicy::hides(const Node& dir, std::string_view name) const {
  const auto* rule = match(dir, name);
  return rule && rule->hidden;
}

// Whether a rule, or a hiding one, names the path or something above it.
bool ExportPolicy::any_on(std::string_view path, bool hidden) const {
  while (path.size() > 1) {
    const auto slash = path.rfind('/');
    if (slash == std::string_view::npos) return false;
    const std::string dir(slash == 0 ? "/" : path.substr(0, slash));
    const auto* rule = match(path.substr(slash + 1), [&]() -> const std::string& { return dir; });
    if (rule && (rule->hidden || !hidden)) return true;
    path = path.substr(0, slash);
  }
  return false;
}

bool ExportPolicy::hides_path(std::string_view path) const {
  return any_on(path, true);
}

bool ExportPolicy::protects_path(std::string_view path) const {
  return any_on(path, false);
}

bool ExportPolicy::protects(const Node& node) const {
  for (const auto* at = &node; at; at = at->parent)
    if (protects(at->id) || (at->parent && match(*at->parent, at->name))) return true;
  return false;
}

bool ExportPolicy::protects(const Node& dir, std::string_view name) const {
  return match(dir, name) || protects(dir);
}

bool ExportPolicy::leads(const Node& dir, std::string_view name) const {
  return way_names_.contains(std::string(name)) && way_paths_.contains(path_of(dir, name));
}

void ExportPolicy::log_refused(const std::string& path, std::string_view what) const {
  if (logged_.size() > 10'000 || !logged_.insert(path).second) return;  // a guest chooses what it asks for
  log::info("refused {} {}", what, printable(path));
}

}  // namespace ssi
