// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/export_policy.h"

#include <fcntl.h>
#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "common/printable.h"
#include "deputy/undo_keep.h"

namespace ssi {
namespace {

constexpr int max_links = 40;  // as in the kernel

std::string joined(const std::string& dir, const std::string& name) {
  return dir == "/" ? "/" + name : dir + "/" + name;
}

void append(std::vector<ExportRule>& rules, std::vector<ExportRule> more) {
  rules.insert(rules.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

ExportPolicy::ExportPolicy(const ExportRules& added)
    : defaults_(default_export_rules()), rules_(export_rules(added)), added_(added) {
  refresh();
}

ExportPolicy ExportPolicy::exactly(const ExportRules& rules) {
  ExportPolicy policy;
  policy.rules_ = export_rules(rules);
  policy.added_ = rules;
  policy.refresh();
  return policy;
}

void ExportPolicy::follow(const ExportRules& added, bool drop) {
  if (added.hidden == added_.hidden && added.read_only == added_.read_only) return;
  if (drop) rules_.clear();
  append(rules_, export_rules(added));
  added_ = added;
  ++generation_;
  refresh();
}

void ExportPolicy::refresh_if_old() {
  if (std::chrono::steady_clock::now() - refreshed_ >= std::chrono::seconds(1)) refresh();
}

void ExportPolicy::refresh() {
  refreshed_ = std::chrono::steady_clock::now();
  for (const auto& [id, kept] : ids_)
    if (id.birth != 0) former_[id] = kept;  // without it another file may have got the number
  names_.clear();
  globs_.clear();
  const auto before = std::exchange(ids_, {});
  ways_.clear();
  way_paths_.clear();
  way_names_.clear();
  canonical_.clear();
  auto rules = defaults_;
  append(rules, rules_);
  std::ranges::stable_sort(rules, std::greater(), &ExportRule::kept);
  std::vector<KeptTrees::Tree> trees;
  for (const auto& rule : rules) add(rule, trees);
  const bool all = trees_.look(std::move(trees), ids_);
  if (ids_ != before) ++generation_;
  if (all || std::exchange(too_much_, true)) return;
  log::warning("more than {} files are hidden or read-only: those that lie deepest are known by name only",
               KeptTrees::most);
}

// As std::filesystem::weakly_canonical, of what has no "." or ".." in it. Most rules name something in one of a few directories, or
// below one that is not there.
const std::string& ExportPolicy::canonical(const std::string& path) {
  if (const auto known = canonical_.find(path); known != canonical_.end()) return known->second;
  char plain[PATH_MAX];
  const auto slash = path.rfind('/');
  std::string found = path;
  if (::realpath(path.c_str(), plain))
    found = plain;
  else if (errno == ENOENT && path.size() > 1 && slash != std::string::npos)
    found = joined(canonical(slash == 0 ? "/" : path.substr(0, slash)), path.substr(slash + 1));
  return canonical_.emplace(path, std::move(found)).first->second;
}

void ExportPolicy::add(const ExportRule& rule, std::vector<KeptTrees::Tree>& trees) {
  const std::filesystem::path given = std::filesystem::path(rule.path).lexically_normal();
  const Rule added{canonical(given.parent_path().string()), given.filename().string(), rule.kept};
  if (!given.is_absolute() || added.name.empty()) return;
  add_ways(given.parent_path().string());  // symbolic links on the way
  add_ways(added.dir);
  if (is_glob(added.name))
    globs_.push_back(added);
  else
    names_[added.name].push_back(added);
  for (const auto& path : matches_of({joined(added.dir, added.name), rule.kept}))
    learn(path, rule.kept, trees);
}

// Remembers which file that is; of a symbolic link, both the link and what it leads to.
void ExportPolicy::learn(const std::string& path, Kept kept, std::vector<KeptTrees::Tree>& trees) {
  auto at = path;
  for (int links = 0; links < max_links; ++links) {
    struct statx status;
    if (at == "/" || stat_at(AT_FDCWD, at.c_str(), status) != 0) return;
    auto& known = ids_[id_of(status)];
    known = std::max(known, kept);
    if (S_ISDIR(status.stx_mode)) trees.push_back({at, kept});
    if (!S_ISLNK(status.stx_mode)) return;
    std::error_code error;
    const auto target = std::filesystem::read_symlink(at, error);
    if (error) return;
    const auto next = (std::filesystem::path(at).parent_path() / target).lexically_normal();
    at = joined(canonical(next.parent_path().string()), next.filename().string());
    add_ways(std::filesystem::path(at).parent_path().string());
  }
}

void ExportPolicy::add_ways(std::string dir) {
  while (dir.size() > 1 && way_paths_.insert(dir).second) {
    struct statx status;
    if (stat_at(AT_FDCWD, dir.c_str(), status) == 0) ways_.emplace(id_of(status), dir);
    const auto slash = dir.rfind('/');
    way_names_.insert(dir.substr(slash + 1));
    dir.resize(slash);
  }
}

template <class IsDir>
Kept ExportPolicy::match(std::string_view name, const IsDir& is_dir) const {
  auto kept = Kept::no;
  const std::string last(name);
  const auto consider = [&](const Rule& rule) {
    if (rule.kept > kept && is_dir(rule.dir)) kept = rule.kept;
  };
  if (const auto found = names_.find(last); found != names_.end())
    for (const auto& rule : found->second) consider(rule);
  for (const auto& rule : globs_)
    if (::fnmatch(rule.name.c_str(), last.c_str(), 0) == 0) consider(rule);
  return kept;
}

Kept ExportPolicy::kept(const FileId& id) const {
  if (const auto found = ids_.find(id); found != ids_.end()) return found->second;
  const auto former = former_.find(id);
  return former == former_.end() ? Kept::no : former->second;
}

// The directory may be known by another path than the rule's (a bind mount of something above it).
Kept ExportPolicy::kept(const Node& dir, std::string_view name) const {
  if (name.starts_with(UndoKeep::prefix)) return Kept::absent;
  std::string path;
  return match(name, [&](const std::string& wanted) {
    if (const auto way = ways_.find(dir.id); way != ways_.end() && way->second == wanted) return true;
    if (path.empty()) path = path_of(dir);
    return path == wanted;
  });
}

Kept ExportPolicy::kept_path(std::string_view path) const {
  auto kept = Kept::no;
  while (path.size() > 1) {
    const auto slash = path.rfind('/');
    if (slash == std::string_view::npos) break;
    const std::string dir(slash == 0 ? "/" : path.substr(0, slash));
    kept = std::max(kept,
                    match(path.substr(slash + 1), [&](const std::string& wanted) { return wanted == dir; }));
    path = path.substr(0, slash);
  }
  return kept;
}

bool ExportPolicy::protects(const Node& node) const {
  for (const auto* at = &node; at; at = at->parent)
    if (protects(at->id) || (at->parent && kept(*at->parent, at->name) != Kept::no)) return true;
  return false;
}

bool ExportPolicy::protects(const Node& dir, std::string_view name) const {
  return kept(dir, name) != Kept::no || protects(dir);
}

bool ExportPolicy::is_plain(const Node& dir) const {
  return !ways_.contains(dir.id) && !way_paths_.contains(path_of(dir)) && !protects(dir);
}

bool ExportPolicy::leads(const Node& dir, std::string_view name) const {
  return way_names_.contains(std::string(name)) && way_paths_.contains(path_of(dir, name));
}

void ExportPolicy::log_refused(const std::string& path, std::string_view what) const {
  if (logged_.size() > 10'000 || !logged_.insert(path).second) return;  // a guest chooses what it asks for
  log::info("refused {} {}", what, printable(path));
}

}  // namespace ssi
