// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job inherits, made by its init: pipes that it was given, files of the view, devices, the terminal.
#pragma once

#include <cstdint>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

// One of them, under another number for the moment.
struct Held {
  std::uint32_t number;
  Fd fd;
};

// Opens what the spec lists. `fds` from the third on: the ends of the pipes, in the spec's order.
Result<std::vector<Held>> open_descriptors(const wire::Start& start, std::vector<Fd>& fds, int terminal);

// Those that are files.
std::vector<Held> files_of(const wire::Start& start, std::vector<Held> held);

}  // namespace ssi
