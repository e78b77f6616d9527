// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/dying_task.h"

#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::uint64_t bit(int signal) {
  return 1ull << (signal - 1);
}

// The kernel turns any other deadly signal into a pending SIGKILL of every thread, but one that dumps core
// stays what it is until the task takes it.
constexpr std::uint64_t core_dumping = bit(SIGQUIT) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGABRT) |
                                       bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV) | bit(SIGXCPU) |
                                       bit(SIGXFSZ) | bit(SIGSYS);

std::uint64_t mask(std::string_view status, std::string_view field) {
  const auto at = status.find(field);
  if (at == std::string_view::npos) return 0;
  const auto digits = status.substr(at + field.size(), 16);
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

}  // namespace

bool has_fatal_signal(std::string_view status) {
  const auto pending = mask(status, "\nSigPnd:\t") | mask(status, "\nShdPnd:\t");
  if (pending & bit(SIGKILL)) return true;
  const auto harmless =
      mask(status, "\nSigBlk:\t") | mask(status, "\nSigIgn:\t") | mask(status, "\nSigCgt:\t");
  return (pending & core_dumping & ~harmless) != 0;
}

bool is_dying(pid_t task) {
  if (task <= 0) return false;
  const Fd file(::open(("/proc/" + std::to_string(task) + "/status").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text;
  const auto size = file ? ::read(file.get(), text.data(), text.size()) : -1;
  return size > 0 && has_fatal_signal({text.data(), static_cast<std::size_t>(size)});
}

}  // namespace ssi
