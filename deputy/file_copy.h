// SPDX-License-Identifier: LGPL-2.1-or-later
// Extended attributes of a file, and a copy of a whole one. Descriptors may be O_PATH ones where not said otherwise.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

std::vector<std::string> xattrs_of(int fd);                         // their names
std::optional<std::string> xattr_of(int fd, const std::string& name);  // none: it has no such

// Makes an empty regular file, which is open for writing, what another one is, which is open for reading: content, holes, extended
// attributes. Not its owner, mode and times. Takes a disk's time.
Status copy_file(int from, int to);

}  // namespace ssi
