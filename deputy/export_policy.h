// SPDX-License-Identifier: LGPL-2.1-or-later
// What of home a guest may see and change. Nothing hides from the root of the machine that a job runs on, so
// secrets never leave home, and nothing that home would run by itself may be changed. Judged by what a file
// is (device, inode) as well as by its name, so that neither hard links nor moved directories lead around it.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/config.h"
#include "deputy/nodes.h"

namespace ssi {

class ExportPolicy {
 public:
  // The defaults for the effective user (of root: every local user's too), and what the config adds. The last
  // component of a path may be a glob; a directory means all that is below.
  explicit ExportPolicy(const ExportRules& added);
  static ExportPolicy exactly(ExportRules rules);  // and no defaults

  void refresh();  // looks again what the rules' paths are; at each job's start
  // The same, unless it was done in the last second: it costs thousands of system calls when root has many users. What
  // was made since is known by its name.
  void refresh_if_old();

  // Not there, as far as a guest can see.
  bool hides(const FileId& id) const;
  bool hides(const Node& dir, std::string_view name) const;
  bool hides_path(std::string_view path) const;  // or something above it

  // Not to be changed (or hidden, which includes that).
  bool protects(const FileId& id) const { return ids_.contains(id); }
  bool protects(const Node& node) const;  // or something above it
  bool protects(const Node& dir, std::string_view name) const;
  bool protects_path(std::string_view path) const;
  // A directory on the way to something protected: not to be replaced by another.
  bool leads(const Node& dir, std::string_view name) const;
  bool leads(const FileId& id) const { return ways_.contains(id); }

  void log_refused(const std::string& path, std::string_view what) const;  // once for each path

 private:
  struct Rule {
    std::string dir, name;  // canonical directory, and the last component
    bool hidden = false;
  };

  ExportPolicy() = default;
  void add(const std::string& path, bool hidden);
  void learn(const std::string& path, bool hidden);
  void add_ways(std::string dir);
  const Rule* match(const Node& dir, std::string_view name) const;
  bool any_on(std::string_view path, bool hidden) const;
  template <class DirPath>
  const Rule* match(std::string_view name, const DirPath& dir) const;

  ExportRules rules_;
  std::chrono::steady_clock::time_point refreshed_{};
  std::unordered_map<std::string, std::vector<Rule>> names_;  // by last component: most names match none
  std::vector<Rule> globs_;
  std::unordered_map<FileId, bool, FileIdHash> ids_;  // true: hidden
  std::unordered_set<FileId, FileIdHash> ways_;
  std::unordered_set<std::string> way_paths_, way_names_;
  mutable std::unordered_set<std::string> logged_;
};

}  // namespace ssi
