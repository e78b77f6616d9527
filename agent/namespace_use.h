// SPDX-License-Identifier: LGPL-2.1-or-later
// What all processes of a job use, summed by its init from the /proc of its pid namespace.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ssi {

struct ProcessUse {
  std::uint64_t cpu_us = 0;  // user and system, with that of the dead
  std::uint64_t memory = 0;  // bytes resident now
};

// One process and the children that it waited for, from its /proc/PID/stat. Source: proc(5).
std::optional<ProcessUse> parse_process_stat(std::string_view stat, long ticks_per_second, long page_size);

// Sums the namespace of which the caller is pid 1. `proc`: its /proc, opened before: looking the path up could wait for
// a home that hangs.
ProcessUse namespace_use(int proc);

}  // namespace ssi
