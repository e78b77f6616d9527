// SPDX-License-Identifier: LGPL-2.1-or-later
// Which of home's files a guest does not get as they are: the rules. What they come to is deputy/export_policy.h.
#pragma once

#include <string>
#include <vector>

#include "common/config.h"

namespace ssi {

// From what a job may do with a file, the strictest last.
enum class Kept : std::uint8_t {
  no,
  read_only,  // a change is EROFS
  absent,     // is not there: what jobs do without
  hidden      // is not there either, and a job that needs it goes home
};

struct ExportRule {
  std::string path;  // absolute; the last component may be a glob, a directory means all that is below
  Kept kept = Kept::no;
};

// The defaults for the effective user (of root: every local user's too).
std::vector<ExportRule> default_export_rules();

// Those of a configuration's [export].
std::vector<ExportRule> export_rules(const ExportRules& configured);

bool is_glob(std::string_view path);

// What there is now under the rule's path, symbolic links themselves included.
std::vector<std::string> matches_of(const ExportRule& rule);

}  // namespace ssi
