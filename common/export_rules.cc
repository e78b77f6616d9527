// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/export_rules.h"

#include <glob.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "common/paths.h"

namespace ssi {
namespace {

constexpr const char* hidden_in_homes[] = {".ssh",
                                           ".gnupg",
                                           ".aws",
                                           ".kube",
                                           ".local/share/keyrings",
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

void append(std::vector<ExportRule>& rules, const std::vector<std::string>& paths, Kept kept) {
  for (const auto& path : paths)
    rules.push_back({path.starts_with("~/") ? paths::home_dir() + path.substr(1) : path, kept});
}

}  // namespace

std::vector<ExportRule> default_export_rules() {
  std::vector<ExportRule> rules;
  // Sockets of home's sessions, for which many programs look and do without; and ssi's own secrets: an ssirun in a guest
  // finds no deputy, and runs its command there.
  append(rules, {"/run/user"}, Kept::absent);
  for (const auto& dir : {paths::state_dir(), paths::runtime_dir()})
    if (dir) append(rules, {*dir}, Kept::absent);
  append(rules, {"/etc/cron*", "/var/spool/cron", "/etc/ssi", "/var/lib/ssi", paths::user_config()},
         Kept::read_only);
  for (const auto& home : homes()) {
    append(rules, {home + "/.local/state/ssi"}, Kept::absent);
    for (const auto* name : hidden_in_homes) append(rules, {home + "/" + name}, Kept::hidden);
    for (const auto* name : read_only_in_homes) append(rules, {home + "/" + name}, Kept::read_only);
  }
  return rules;
}

std::vector<ExportRule> export_rules(const ExportRules& configured) {
  std::vector<ExportRule> rules;
  append(rules, configured.hidden, Kept::hidden);
  append(rules, configured.read_only, Kept::read_only);
  return rules;
}

bool is_glob(std::string_view path) {
  return path.substr(path.rfind('/') + 1).find_first_of("*?[") != std::string_view::npos;
}

std::vector<std::string> matches_of(const ExportRule& rule) {
  struct stat status;
  if (!is_glob(rule.path))
    return ::lstat(rule.path.c_str(), &status) == 0 ? std::vector{rule.path} : std::vector<std::string>();
  std::vector<std::string> all;
  glob_t found{};
  if (::glob(rule.path.c_str(), GLOB_NOSORT | GLOB_PERIOD, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i) all.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  std::erase_if(all, [](const auto& path) { return path.ends_with("/.") || path.ends_with("/.."); });
  return all;
}

}  // namespace ssi
