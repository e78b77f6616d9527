// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether the guest's kernel has killed processes for want of memory, since a point in time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace ssi {

class OomKills {
 public:
  OomKills() = default;  // watches nothing
  // From now on, in the cgroup (v2) of `process`; where it has none with such a counter, in the whole guest.
  explicit OomKills(pid_t process);
  // By the counter in `file`, a line "oom_kill NUMBER". Source: Documentation/admin-guide/cgroup-v2.rst, memory.events;
  // /proc/vmstat has the same line.
  explicit OomKills(std::string file);

  bool any() const;

 private:
  std::uint64_t count() const;
  std::string file_;
  std::uint64_t before_ = 0;
};

}  // namespace ssi
