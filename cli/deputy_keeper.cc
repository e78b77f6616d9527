// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/deputy_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "cli/pool_tool.h"
#include "common/fd.h"
#include "common/handover.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr int look_ms = 1'000, most_ms = 60'000;  // the longer it cannot be started, the less often it is tried

void start_deputy() {
  if (const auto ssirun = paths::sibling("ssirun")) (void)run_tool({*ssirun, "--dry-run", "true"});
}

[[noreturn]] void keep(int shell, const std::string& socket) {
  ::setsid();  // the terminal's signals are not for us
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd <= 2; fd++) ::dup2(null.get(), fd);  // who reads from the shell waits for its end, not for ours
  if (::chdir("/") != 0) ::_exit(1);
  pollfd end{shell, POLLIN, 0};
  for (int wait = look_ms; ::poll(&end, 1, wait) == 0;) {
    if (::access(socket.c_str(), F_OK) != 0) start_deputy();
    wait = ::access(socket.c_str(), F_OK) == 0 ? look_ms : std::min(2 * wait, most_ms);
  }
  ::_exit(0);
}

}  // namespace

void keep_deputy() {
  start_deputy();
  const auto runtime = paths::runtime_dir();
  const Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!runtime || !self) return;
  // Not our child: a command that waits for all of its own would wait for it.
  const pid_t between = ::fork();
  if (between == 0) {
    if (::fork() == 0) keep(self.get(), *runtime + "/" + HANDOVER_SOCKET);
    ::_exit(0);
  }
  if (between > 0) ::waitpid(between, nullptr, 0);
}

}  // namespace ssi
