// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/deputy_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "cli/pool_tool.h"
#include "common/fd.h"
#include "common/handover.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr int look_ms = 1'000,
              most_ms = 60'000;  // the longer it cannot be started, the less often it is tried

Fd process(pid_t pid) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

// The one that answers, or nothing: a socket stays behind when its deputy was killed.
Fd deputy_behind(const std::string& socket) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (socket.size() >= sizeof at.sun_path) return {};
  std::memcpy(at.sun_path, socket.data(), socket.size());
  const Fd link(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!link || ::connect(link.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return {};
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(link.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return {};
  auto deputy = process(who.pid);
  pollfd gone{link.get(), 0, 0};  // then its number may be another's by now
  return ::poll(&gone, 1, 0) == 0 ? std::move(deputy) : Fd();
}

void start_deputy() {
  if (const auto ssirun = paths::sibling("ssirun")) (void)run_tool({*ssirun, "--dry-run", "true"});
}

[[noreturn]] void keep(int shell, const std::string& socket) {
  ::setsid();  // the terminal's signals are not for us
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd <= 2; fd++)
    ::dup2(null.get(), fd);  // who reads from the shell waits for its end, not for ours
  if (::chdir("/") != 0) ::_exit(1);
  for (int wait = look_ms;;) {
    const auto deputy = deputy_behind(socket);
    pollfd ends[] = {{shell, POLLIN, 0}, {deputy.get(), POLLIN, 0}};  // poll() passes over what is -1
    ::poll(ends, 2, deputy ? -1 : wait);
    if (ends[0].revents != 0) ::_exit(0);
    if (!deputy) start_deputy();
    wait = deputy ? look_ms : std::min(2 * wait, most_ms);
  }
}

}  // namespace

void keep_deputy() {
  start_deputy();
  const auto runtime = paths::runtime_dir();
  const auto self = process(::getpid());
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
