// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/task_call.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <array>
#include <cstdio>
#include <sstream>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr int max_ancestors = 1000;

std::string read_status(pid_t task) {
  const Fd file(::open(("/proc/" + std::to_string(task) + "/status").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const auto size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

std::string_view field(std::string_view status, std::string_view name) {
  const auto at = status.find(name);
  if (at == std::string_view::npos) return {};
  const auto value = status.substr(at + name.size());
  return value.substr(0, value.find('\n'));
}

bool has(unsigned long flags, unsigned long all) {
  return (flags & all) == all;
}

// With some flags nothing is opened, or not what is there already; and touch(1) is content with the ENXIO that it gets.
bool opens_it(unsigned long flags) {
  const bool touches =
      has(flags, O_WRONLY | O_CREAT | O_NONBLOCK) && !(flags & (O_RDWR | O_TRUNC | O_APPEND));
  return !(flags & (O_PATH | O_DIRECTORY)) && !has(flags, O_CREAT | O_EXCL) && !touches;
}

}  // namespace

Call call_of(std::string_view syscall) {
  long number = -1;
  unsigned long argument[3] = {};
  if (syscall.starts_with("running")) return Call::unsure;
  if (std::sscanf(std::string(syscall).c_str(), "%ld %lx %lx %lx", &number, &argument[0], &argument[1],
                  &argument[2]) != 4)
    return Call::other;
  switch (number) {
#ifdef SYS_open
    case SYS_open:
      return opens_it(argument[1]) ? Call::opens : Call::other;
    case SYS_creat:
      return Call::opens;
#endif
    case SYS_openat:
      return opens_it(argument[2]) ? Call::opens : Call::other;
    case SYS_openat2:  // its flags lie in the task's memory
      return Call::opens;
    case SYS_connect:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
      return Call::connects;
    default:
      return Call::other;
  }
}

Place place_of(std::string_view status) {
  Place place;
  std::istringstream(std::string(field(status, "\nPPid:\t"))) >> place.parent;
  std::istringstream pids{std::string(field(status, "\nNSpid:\t"))};
  while (pids >> place.inner) ++place.depth;
  return place;
}

pid_t init_of(pid_t task) {
  static const auto ours = place_of(read_status(::getpid())).depth;
  for (int count = 0; task > 1 && count < max_ancestors; ++count) {
    const auto place = place_of(read_status(task));
    if (place.depth == ours + 1 && place.inner == 1) return task;
    task = place.parent;
  }
  return 0;
}

}  // namespace ssi
