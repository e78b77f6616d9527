// SPDX-License-Identifier: LGPL-2.1-or-later
// What of home a guest may see and change. Nothing hides from the root of the machine that a job runs on, so
// secrets never leave home, and nothing that home would run by itself may be changed. Judged by what a file
// is (device, inode) as well as by its name, so that neither hard links nor moved directories lead around it.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/config.h"
#include "common/export_rules.h"
#include "deputy/kept_trees.h"
#include "deputy/nodes.h"

namespace ssi {

class ExportPolicy {
 public:
  // The defaults, and what the config adds.
  explicit ExportPolicy(const ExportRules& added);
  static ExportPolicy exactly(const ExportRules& rules);  // and no defaults

  // The config says other rules now. With `drop` those that it no longer says end; else they hold beside the new ones.
  void follow(const ExportRules& added, bool drop);

  void refresh();  // looks again what the rules' paths are; at each job's start
  // The same, unless it was done in the last second: it costs thousands of system calls when root has many users. What
  // was made since is known by its name.
  void refresh_if_old();
  // What was kept back at an earlier refresh stays so, wherever it has been moved; until this, when no job runs.
  void forget_former() { former_.clear(); }

  // Another number: what is kept from guests may be more than before.
  std::uint64_t generation() const { return generation_; }

  Kept kept(const FileId& id) const;
  Kept kept(const Node& dir, std::string_view name) const;

  // Not there, as far as a guest can see.
  bool hides(const FileId& id) const { return kept(id) >= Kept::absent; }
  bool hides(const Node& dir, std::string_view name) const { return kept(dir, name) >= Kept::absent; }
  bool hides_path(std::string_view path) const { return kept_path(path) >= Kept::absent; }
  Kept kept_path(std::string_view path) const;  // it, or something above it

  // Not to be changed (or hidden, which includes that).
  bool protects(const FileId& id) const { return kept(id) != Kept::no; }
  bool protects(const Node& node) const;  // or something above it
  bool protects(const Node& dir, std::string_view name) const;
  bool protects_path(std::string_view path) const { return kept_path(path) != Kept::no; }
  // No rule speaks of anything in it, nor of anything that may come to lie below it.
  bool is_plain(const Node& dir) const;
  // A directory on the way to something protected: not to be replaced by another.
  bool leads(const Node& dir, std::string_view name) const;
  bool leads(const FileId& id) const { return ways_.contains(id); }

  void log_refused(const std::string& path, std::string_view what) const;  // once for each path

 private:
  struct Rule {
    std::string dir, name;  // canonical directory, and the last component
    Kept kept = Kept::no;
  };

  ExportPolicy() = default;
  void add(const ExportRule& rule, std::vector<KeptTrees::Tree>& trees);
  void learn(const std::string& path, Kept kept, std::vector<KeptTrees::Tree>& trees);
  void add_ways(std::string dir);
  const std::string& canonical(const std::string& path);
  template <class IsDir>
  Kept match(std::string_view name, const IsDir& is_dir) const;

  std::vector<ExportRule> defaults_, rules_;  // rules_: the config's
  ExportRules added_;
  std::chrono::steady_clock::time_point refreshed_{};
  std::unordered_map<std::string, std::vector<Rule>> names_;  // by last component: most names match none
  std::vector<Rule> globs_;
  KeptTrees trees_;
  KeptTrees::Ids ids_, former_;
  std::unordered_map<FileId, std::string, FileIdHash> ways_;  // directories above what is protected
  std::unordered_set<std::string> way_paths_, way_names_;
  std::unordered_map<std::string, std::string> canonical_;  // as the last refresh found it
  mutable std::unordered_set<std::string> logged_;
  bool too_much_ = false;
  std::uint64_t generation_ = 1;
};

}  // namespace ssi
