// SPDX-License-Identifier: LGPL-2.1-or-later
// Whom the embedded pool's scheduler admits: its own guests, and whoever called `ssi pool up`,
// as administrators.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

struct KnownUser {
  std::string name;        // login name
  std::string public_key;  // of his deputy
};

// The effective user; under sudo(8) also the one who called it. A key that is missing is made, owned by its
// user.
Result<std::vector<KnownUser>> invoking_users();

// Writes DIR/NAME.pub. `role`: "guest", "deputy" or "admin".
Status admit(const std::string& directory, const std::string& name, const std::string& role,
             const std::string& public_key);

}  // namespace ssi
