// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job is to run, as a sealed file in memory that travels from the home process to the job itself: the stem in
// between, which has privileges, never parses it.
#pragma once

#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

struct JobSpec {
  wire::Start start;
  std::string arguments, environment;  // strings ended by NUL

  Result<Fd> to_memory() const;  // a memfd
  static Result<JobSpec> from_memory(int fd);
};

// Where a job with this environment makes its temporary files; see tmpfile(3).
std::string temporary_directory(const std::string& environment);

// Pointers into `strings`, ended by a null pointer, as execve(2) wants them.
std::vector<char*> pointers(std::string& strings);

}  // namespace ssi
