// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi key`, and who this user is to schedulers: the identity that his deputy, and `ssi status` for him, use.
#pragma once

#include <string>

#include "common/identity.h"
#include "common/result.h"

namespace ssi {

// state_dir()/keys/deputy.key, made when it is missing.
Result<std::string> deputy_key_file();
Result<Identity> deputy_identity();

int key_command(int argc, char** argv);

}  // namespace ssi
