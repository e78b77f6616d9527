// SPDX-License-Identifier: LGPL-2.1-or-later
// The rules that come with ssi (common/allow.d: a file for each subject, part of the programs), as /etc/ssi/allow.d has them: a file
// there stands for the one of the same name that came along (an empty one switches it off), others are added.
#pragma once

#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/rule_table.h"

namespace ssi {

class AllowFolder {
 public:
  explicit AllowFolder(std::string path) : path_(std::move(path)) {}

  // Appends the rules in order of the files' names; those that begin with '.' or do not end in .toml are passed over. A
  // file is parsed again only when it changed. The folder and its files are held to what config.toml is, and have rules only.
  Status append_rules(const Config& defaults, std::vector<Rule>& into);

  // Whether a rule of load_config() is none of a config.toml's.
  static bool has_made(const Rule& rule);

 private:
  using Stamp = std::optional<struct stat>;  // none: the one that came along
  struct File {
    Stamp stamp;
    std::string label;
    toml::table table;
    std::optional<RuleDefaults> defaults;  // under which `rules` were read; none: not yet
    std::vector<Rule> rules;
  };

  Result<std::map<std::string, Stamp>> look() const;
  Status refresh(File& file, const std::string& name, const Stamp& stamp) const;

  std::string path_;
  std::map<std::string, File> files_;
};

}  // namespace ssi
