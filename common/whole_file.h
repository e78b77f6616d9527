// SPDX-License-Identifier: LGPL-2.1-or-later
// Small files that others read while they are written anew: who reads one sees all of it, or what was there before.
#pragma once

#include <sys/stat.h>

#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

struct Placing {
  mode_t mode = 0600;
  bool replaces = true;     // what is there already; else it stays: EEXIST
  bool is_durable = false;  // it is on the disk when this returns
};

// Written beside its name, and moved there. After an error nothing of it is left.
Status put_file(const std::string& path, std::string_view bytes, Placing how = {});

// What is decided by must be the user's or root's, and nobody else may write to it.
Status check_trusted(const std::string& path, const struct stat& file);

Result<std::string> read_whole(const std::string& file);

std::string boot_id();  // of the machine's present boot; "unknown" without /proc

}  // namespace ssi
