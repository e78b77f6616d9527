// SPDX-License-Identifier: LGPL-2.1-or-later
// The tokens of the make that a command was started by. They cannot be had in a guest: a command takes none there, and is
// one of its make's jobs as long as it runs. Pure. Source: "POSIX Jobserver Interaction" in GNU make's manual.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ssi {

struct Jobserver {
  int read = -1, write = -1;  // the ends of its pipe; -1: it is a FIFO
  bool operator==(const Jobserver&) const = default;
};

// As MAKEFLAGS tells, or MFLAGS, or CARGO_MAKEFLAGS. `environment`: strings ended by NUL.
std::optional<Jobserver> jobserver_of(std::string_view environment);

// The same strings without the jobserver, and without -jN: a make that the command starts runs one thing at a time.
std::string without_jobserver(std::string_view environment);

// A program that starts others as it gets tokens.
bool hands_out_jobs(std::string_view command);

}  // namespace ssi
