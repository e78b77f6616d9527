// SPDX-License-Identifier: LGPL-2.1-or-later
// What this machine is busy with, from /proc. Sources: proc(5), Documentation/accounting/psi.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>

#include "common/wire.h"

namespace ssi {

// /proc/stat: processor time since boot, in ticks, summed over the processors whose number `ours` holds.
struct CpuTimes {
  std::uint64_t busy = 0, idle = 0, steal = 0;
  std::uint32_t runnable = 0;  // tasks on or waiting for a processor, of the whole machine
};
CpuTimes parse_stat(std::string_view text, const std::set<unsigned>& ours);

struct Memory {
  std::uint64_t total = 0, free = 0;  // bytes; free: MemAvailable, what can be had without swapping
};
Memory parse_meminfo(std::string_view text);

// "some avg10" in percent; -1 when the text has none.
double parse_pressure(std::string_view text);

// The busy processors and the stolen share between two readings of `cpus` processors.
struct Use {
  double busy = 0, steal = 0;
};
Use use_between(const CpuTimes& before, const CpuTimes& after, std::uint32_t cpus);

// A cgroup's quota in processors, from cpu.max ("20000 100000", "max 100000") or the same two numbers of cgroup v1
// (a quota of -1: none). Nothing when there is none. Source: Documentation/admin-guide/cgroup-v2.rst.
std::optional<double> parse_quota(std::string_view text);

class Load {
 public:
  explicit Load(double speed);  // of one processor, see measure_speed()

  // Fills what is measured: cpus, speed, busy, runnable, steal, memory and pressure; busy and steal are the
  // mean since the last sample that was at least 100 ms ago (a shorter time than that is a few ticks: noise).
  wire::Report sample();

 private:
  double speed_;
  CpuTimes before_;
  std::int64_t before_ms_ = 0;
  Use use_;
};

}  // namespace ssi
