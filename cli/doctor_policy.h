// SPDX-License-Identifier: LGPL-2.1-or-later
// What `ssi doctor` says of the export policy: which files a guest does not get as they are at home, and who says so.
#pragma once

#include <string>
#include <vector>

#include "common/export_rules.h"
#include "common/result.h"

namespace ssi {

struct PolicyLine {
  ExportRule rule;
  std::string from;                  // "default", or the file
  std::vector<std::string> matches;  // what there is now
};

// Of this user's deputy. The error is that of a configuration that cannot be read; then the defaults hold.
Result<std::vector<PolicyLine>> policy_lines();

const char* word_of(Kept kept);  // "hidden", "absent", "read-only"

// Rules that match nothing now are only counted, unless a configuration says them.
std::string policy_text(const std::vector<PolicyLine>& lines);

}  // namespace ssi
