// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi doctor`: what this machine lacks, and the cure.
#pragma once

#include <string>
#include <vector>

namespace ssi {

struct Finding {
  bool is_met = true;
  bool is_needed = true;  // false: jobs run without it; `cure` says what does not
  std::string what;
  std::string cure;  // one line; for people
};

// What `ssi pool up` needs; all of it is tried for real, in children that vanish with what they made.
std::vector<Finding> check_pool_needs();

// What is not as it is at home for the jobs of a pool that is made without root.
std::string squash_note();

// What every user of a pool needs, this machine's or another.
std::vector<Finding> check_user_needs();

// What is good to have: limits, cgroups.
std::vector<Finding> check_comforts();

int doctor_command(int argc, char** argv);

}  // namespace ssi
