// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/load.h"

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::int64_t shortest_ms = 100;

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Empty when there is no such file: each value then keeps its "not known".
std::string read_proc(const char* path) {
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 16 << 10> part{};
  ssize_t size = 0;
  while (file && (size = ::read(file.get(), part.data(), part.size())) > 0)
    text.append(part.data(), static_cast<std::size_t>(size));
  return text;
}

// Cuts the first line off `text`.
std::string_view next_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// Cuts the next number off `line`; 0 when there is none.
template <class Number>
Number next_number(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \n"), line.size()));
  Number number{};
  const auto read = std::from_chars(line.data(), line.data() + line.size(), number);
  line.remove_prefix(static_cast<std::size_t>(read.ptr - line.data()));
  return number;
}

// The processors that we may use: a pool guest or a container has fewer than its machine.
std::set<unsigned> our_processors() {
  std::set<unsigned> ours;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) ours.insert(cpu);
    return ours;
  }
  for (long cpu = 0; cpu < ::sysconf(_SC_NPROCESSORS_ONLN); ++cpu) ours.insert(static_cast<unsigned>(cpu));
  return ours;
}

// Of the cgroup that is the root of what we see: a container's or a pool guest's own. v2, then v1.
std::string own_quota() {
  if (auto max = read_proc("/sys/fs/cgroup/cpu.max"); !max.empty()) return max;
  return read_proc("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") + " " +
         read_proc("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
}

}  // namespace

CpuTimes parse_stat(std::string_view text, const std::set<unsigned>& ours) {
  CpuTimes times;
  while (!text.empty()) {
    auto line = next_line(text);
    if (line.starts_with("procs_running ")) {
      line.remove_prefix(14);
      times.runnable = next_number<std::uint32_t>(line);
    }
    if (!line.starts_with("cpu") || line.size() < 4 || line[3] == ' ') continue;  // "cpu " is the sum of all
    line.remove_prefix(3);
    if (!ours.contains(next_number<unsigned>(line))) continue;
    std::array<std::uint64_t, 8> field{};  // user nice system idle iowait irq softirq steal; user holds guest
    for (auto& value : field) value = next_number<std::uint64_t>(line);
    times.busy += field[0] + field[1] + field[2] + field[5] + field[6];
    times.idle += field[3] + field[4];
    times.steal += field[7];
  }
  return times;
}

Memory parse_meminfo(std::string_view text) {
  Memory memory;
  while (!text.empty()) {
    auto line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto name = line.substr(0, colon);
    line.remove_prefix(colon + 1);
    if (name == "MemTotal") memory.total = next_number<std::uint64_t>(line) << 10;
    if (name == "MemAvailable") memory.free = next_number<std::uint64_t>(line) << 10;
  }
  return memory;
}

double parse_pressure(std::string_view text) {
  while (!text.empty()) {
    auto line = next_line(text);
    const auto at = line.find("avg10=");
    if (!line.starts_with("some ") || at == std::string_view::npos) continue;
    line.remove_prefix(at + 6);
    return next_number<double>(line);
  }
  return -1;
}

std::optional<double> parse_quota(std::string_view text) {
  if (text.starts_with("max") || text.starts_with("-")) return std::nullopt;
  const auto quota = next_number<double>(text), period = next_number<double>(text);
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return quota / period;
}

Use use_between(const CpuTimes& before, const CpuTimes& after, std::uint32_t cpus) {
  // Counters may step back a little (idle and iowait are estimates: proc(5)), and much when a guest was
  // migrated.
  const auto grown = [](std::uint64_t from, std::uint64_t to) {
    return to > from ? static_cast<double>(to - from) : 0;
  };
  const double busy = grown(before.busy, after.busy), steal = grown(before.steal, after.steal);
  const double all = busy + steal + grown(before.idle, after.idle);
  if (all <= 0) return {};
  return {busy / all * cpus, steal / all};
}

Load::Load(double speed) : speed_(speed), before_(parse_stat(read_proc("/proc/stat"), our_processors())) {
  before_ms_ = now_ms();
}

wire::Report Load::sample() {
  const auto ours = our_processors();
  const auto times = parse_stat(read_proc("/proc/stat"), ours);
  const auto memory = parse_meminfo(read_proc("/proc/meminfo"));
  wire::Report report;
  report.cpus = static_cast<std::uint32_t>(ours.size());
  if (const auto quota = parse_quota(own_quota()); quota && *quota < report.cpus)
    report.cpus = static_cast<std::uint32_t>(std::ceil(*quota));
  if (const auto now = now_ms(); now - before_ms_ >= shortest_ms) {
    use_ = use_between(before_, times, report.cpus);
    before_ = times;
    before_ms_ = now;
  }
  report.speed = speed_;
  report.busy = use_.busy;
  report.steal = use_.steal;
  report.runnable = times.runnable;
  report.memory_total = memory.total;
  report.memory_free = memory.free;
  report.pressure_cpu = parse_pressure(read_proc("/proc/pressure/cpu"));
  report.pressure_memory = parse_pressure(read_proc("/proc/pressure/memory"));
  return report;
}

}  // namespace ssi
