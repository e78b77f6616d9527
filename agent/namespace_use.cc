// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/namespace_use.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

// Fields of /proc/PID/stat, counted from the one behind the name.
enum Field : std::size_t { utime = 11, stime = 12, cutime = 13, cstime = 14, rss = 21, fields = 22 };

std::uint64_t us(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

}  // namespace

std::optional<ProcessUse> parse_process_stat(std::string_view stat, long ticks_per_second, long page_size) {
  auto at = stat.rfind(')');  // the name may hold anything
  if (at == std::string_view::npos || ticks_per_second <= 0) return std::nullopt;
  std::array<std::int64_t, fields> values{};
  for (std::size_t field = 0; field < fields; ++field) {
    at = stat.find(' ', at);
    if (at == std::string_view::npos || ++at >= stat.size()) return std::nullopt;
    if (field == 0) continue;  // the state is a letter
    if (std::from_chars(stat.data() + at, stat.data() + stat.size(), values[field]).ec != std::errc{} &&
        field >= utime && field <= cstime)
      return std::nullopt;
  }
  const auto count = [&](std::size_t field) {
    return static_cast<std::uint64_t>(values[field] > 0 ? values[field] : 0);
  };
  const auto ticks = count(utime) + count(stime) + count(cutime) + count(cstime);
  return ProcessUse{ticks * 1'000'000 / static_cast<std::uint64_t>(ticks_per_second),
                    count(rss) * static_cast<std::uint64_t>(page_size)};
}

ProcessUse namespace_use(int proc) {
  static const long ticks = ::sysconf(_SC_CLK_TCK), page = ::sysconf(_SC_PAGESIZE);
  rusage dead{};
  ::getrusage(RUSAGE_CHILDREN, &dead);
  ProcessUse sum{us(dead.ru_utime) + us(dead.ru_stime), 0};
  DIR* directory = ::fdopendir(::openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return sum;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name[0] < '1' || name[0] > '9' || name == "1") continue;  // no process, or ourselves
    const Fd file(::openat(proc, (name + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    char text[1024];
    const auto got = file ? ::read(file.get(), text, sizeof text) : -1;
    if (got <= 0) continue;  // it has ended meanwhile
    if (const auto use = parse_process_stat({text, static_cast<std::size_t>(got)}, ticks, page)) {
      sum.cpu_us += use->cpu_us;
      sum.memory += use->memory;
    }
  }
  ::closedir(directory);
  return sum;
}

}  // namespace ssi
