// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_leader.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include "common/raw_syscall.h"

// On the stack and the memory of another process: nothing that looks at the thread, as sanitizers do.
#define SSI_ON_FOREIGN_STACK __attribute__((no_sanitize("address", "undefined", "thread")))

namespace ssi {
namespace {

constexpr std::size_t stack_size = 16 << 10;

// As the kernel has it on x86-64 and aarch64.
struct KernelAction {
  std::uint64_t handler, flags, restorer, mask;
};

inline long in_long(const void* pointer) {
  return reinterpret_cast<long>(pointer);
}

SSI_ON_FOREIGN_STACK void set_limits(const wire::Start& start) {
  for (std::size_t i = 0; i < start.limits.size() && i < RLIMIT_NLIMITS; ++i) {
    const rlimit limit{start.limits[i].soft, start.limits[i].hard};
    // One that the guest cannot grant stays as it is.
    raw4(SYS_prlimit64, 0, static_cast<long>(i), in_long(&limit), 0);
  }
  if (start.nice != 0) raw4(SYS_setpriority, PRIO_PROCESS, 0, start.nice, 0);
}

SSI_ON_FOREIGN_STACK void set_signals(const wire::Start& start) {
  constexpr std::uint64_t libc_own = std::uint64_t{3} << 31;  // 32 and 33, of which no program can say anything
  for (int number = 1; number < NSIG; ++number) {
    const auto bit = std::uint64_t{1} << (number - 1);
    const KernelAction action{(start.ignored & bit) ? std::uint64_t{1} : 0, 0, 0, 0};  // SIG_IGN, SIG_DFL
    if (!(libc_own & bit)) raw4(SYS_rt_sigaction, number, in_long(&action), 0, sizeof action.mask);
  }
  const std::uint64_t blocked = start.blocked & ~libc_own;
  raw4(SYS_rt_sigprocmask, SIG_SETMASK, in_long(&blocked), 0, sizeof blocked);
}

SSI_ON_FOREIGN_STACK int lead_and_end(void*) {
  return raw4(SYS_setpgid, 0, 0, 0, 0) == 0 ? 0 : 1;
}

}  // namespace

JobLeader::JobLeader(JobSpec& spec, const std::vector<Held>& held, int terminal, int result)
    : spec_(spec),
      arguments_(pointers(spec.arguments)),
      environment_(pointers(spec.environment)),
      above_(held.empty() ? 3 : static_cast<int>(held.back().number) + 1),
      terminal_(terminal),
      result_(result),
      stack_(new char[stack_size]) {
  for (const auto& each : held) descriptors_.push_back({static_cast<int>(each.number), each.fd.get()});
}

pid_t JobLeader::start(pid_t group) {
  group_ = group;
  // Neither its descriptors nor its signals are shared.
  const pid_t pid = ::clone(run, stack_.get() + stack_size, CLONE_VM | SIGCHLD, this);
  return pid < 0 ? -errno : pid;
}

// Becomes the program, or tells the errno and ends.
SSI_ON_FOREIGN_STACK int JobLeader::run(void* self) {
  auto& leader = *static_cast<JobLeader*>(self);
  leader.enter_group();
  // The pipe that tells of failure closes itself at exec; all else must not reach the program.
  const auto keep = static_cast<int>(raw4(SYS_fcntl, leader.result_, F_DUPFD_CLOEXEC, leader.above_, 0));
  leader.place_descriptors(keep);
  const int error = leader.become();
  raw4(SYS_write, keep, in_long(&error), sizeof error, 0);
  return 127;
}

SSI_ON_FOREIGN_STACK void JobLeader::enter_group() const {
  raw4(SYS_setpgid, 0, group_, 0, 0);
  if (terminal_ < 0) return;
  // The init's group has its session's number.
  const auto front = static_cast<pid_t>(raw4(spec_.start.background ? SYS_getsid : SYS_getpgid, 0, 0, 0, 0));
  raw4(SYS_ioctl, terminal_, TIOCSPGRP, in_long(&front), 0);
}

// Gives them their numbers; all others are closed, but `keep`, which is above them.
SSI_ON_FOREIGN_STACK void JobLeader::place_descriptors(int keep) {
  for (auto& each : descriptors_)  // out of the way of each other; never closed: exec does it
    if (each.from < above_) each.from = static_cast<int>(raw4(SYS_fcntl, each.from, F_DUPFD_CLOEXEC, above_, 0));
  for (const auto& each : descriptors_) raw4(SYS_dup3, each.from, each.number, 0, 0);
  int from = 0;
  for (const auto& each : descriptors_) {
    if (each.number > from) raw4(SYS_close_range, from, each.number - 1, 0, 0);
    from = each.number + 1;
  }
  if (keep > from) raw4(SYS_close_range, from, keep - 1, 0, 0);
  raw4(SYS_close_range, keep + 1, ~0U, 0, 0);
}

SSI_ON_FOREIGN_STACK int JobLeader::become() const {
  const auto& start = spec_.start;
  char unused[1];
  for (int tries = 2; tries > 0; --tries) {
    if (const auto entered = raw4(SYS_chdir, in_long(start.cwd.c_str()), 0, 0, 0); entered < 0) return static_cast<int>(-entered);
    // Its name may have been taken for stale (Stem::proc_): in it getcwd(3) would fail.
    if (raw4(SYS_getcwd, in_long(unused), sizeof unused, 0, 0) != -ENOENT) break;
  }
  raw4(SYS_umask, start.umask, 0, 0, 0);
  set_limits(start);
  set_signals(start);
  const auto failed = raw4(SYS_execve, in_long(start.path.c_str()), in_long(arguments_.data()), in_long(environment_.data()), 0);
  return static_cast<int>(-failed);
}

pid_t make_group() {
  char stack[4096];
  // Without descriptors of its own: none is closed when it ends. The caller waits until it has.
  const pid_t pid = ::clone(lead_and_end, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, nullptr);
  return pid < 0 ? -errno : pid;
}

}  // namespace ssi
