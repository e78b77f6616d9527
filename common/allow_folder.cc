// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/allow_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "common/fd.h"
#include "common/paths.h"
#include "common/shipped_allow.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

using namespace toml_table;

const std::string came_along = "shipped ";  // begins the name of a file that did

bool is_same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// Who may write to the folder may put any rule there.
Status check_folder(int folder, const std::string& path) {
  struct stat st {};
  if (::fstat(folder, &st) != 0) return os_error("stat " + path);
  return check_trusted(path, st);
}

// Its owner and mode too: who changes them changes the ctime.
bool is_unchanged(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         is_same_time(a.st_mtim, b.st_mtim) && is_same_time(a.st_ctim, b.st_ctim);
}

Result<toml::table> shipped_table(const std::string& label, const std::string& name) {
  const auto found = std::ranges::find_if(shipped_allow, [&](const auto& it) { return name == it.name; });
  return parse_text(label, found == std::end(shipped_allow) ? "" : found->text);
}

// One that went away just now is empty; the next look will tell.
Result<toml::table> table_at(const std::string& path) {
  auto table = parse_file(path);
  if (!table) return tl::make_unexpected(table.error());
  return *table ? std::move(**table) : toml::table();
}

}  // namespace

Result<std::map<std::string, AllowFolder::Stamp>> AllowFolder::look() const {
  std::map<std::string, Stamp> names;
  for (const auto& shipped : shipped_allow) names[shipped.name];
  Fd folder(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder && errno == ENOENT) return names;
  if (!folder) return os_error("open " + path_);
  if (auto status = check_folder(folder.get(), path_); !status) return tl::make_unexpected(status.error());
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(folder.get()), ::closedir);
  if (!listing) return os_error("read " + path_);
  const int number = folder.release();  // the listing's from now on
  while (const auto* entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    struct stat file {};
    if (!name.starts_with('.') && name.ends_with(".toml") && ::fstatat(number, entry->d_name, &file, 0) == 0)
      names.insert_or_assign(std::string(name), file);
  }
  return names;
}

Status AllowFolder::refresh(File& file, const std::string& name, const Stamp& stamp) const {
  const bool is_same = file.stamp && stamp ? is_unchanged(*file.stamp, *stamp) : !file.stamp && !stamp;
  if (is_same && !file.label.empty()) return {};
  file = {};
  const auto label = stamp ? path_ + "/" + name : came_along + name;
  auto table = stamp ? table_at(label) : shipped_table(label, name);
  if (!table) return tl::make_unexpected(table.error());
  const Read anything = [](const toml::node&) -> Status { return {}; };
  if (auto status = read_table(label, *table, {{"app", anything}}); !status) return status;
  file = {stamp, label, std::move(*table), {}, {}};
  return {};
}

bool AllowFolder::has_made(const Rule& rule) {
  return rule.file.starts_with(came_along) || rule.file.starts_with(std::string(paths::allow_folder) + "/");
}

Status AllowFolder::append_rules(const Config& defaults, std::vector<Rule>& into) {
  const auto names = look();
  if (!names) return tl::make_unexpected(names.error());
  std::erase_if(files_, [&](const auto& file) { return !names->contains(file.first); });
  for (const auto& [name, stamp] : *names) {
    auto& file = files_[name];
    if (auto status = refresh(file, name, stamp); !status) return status;
    if (file.defaults != rule_defaults(defaults)) {
      file.rules.clear();
      file.defaults.reset();
      if (auto status = read_rules(file.label, file.table, defaults, file.rules); !status) return status;
      file.defaults = rule_defaults(defaults);
    }
    into.insert(into.end(), file.rules.begin(), file.rules.end());
  }
  return {};
}

}  // namespace ssi
