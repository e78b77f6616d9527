// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/trace_shell.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "cli/become.h"
#include "cli/exec_notice.h"
#include "common/fd_passing.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr char inside_variable[] = "SSI_TRACE";  // ssirun looks at it too

// Stops are not among them: the terminal stops us with the command, and who waits for us is to see that.
sigset_t watched_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
    ::sigaddset(&set, number);
  return set;
}

// In the child: what cannot be said any other way is its one message, with no descriptor.
[[noreturn]] void become_command(const Fd& socket, const std::vector<std::string>& words,
                                 const sigset_t& mask) {
  bool is_listened = false;
  const auto listener = install_exec_filter(is_listened);
  const std::string said = listener ? std::string(1, is_listened ? 'l' : 'f') : listener.error().text();
  const int fd = listener && *listener ? listener->get() : -1;
  (void)send_with_fds(socket.get(), {said.data(), said.size()}, {&fd, fd >= 0 ? 1u : 0u});
  if (!listener) ::_exit(1);
  char go = 0;  // or its end has been closed: we are not to run
  if (::read(socket.get(), &go, 1) != 1) ::_exit(1);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  std::fprintf(stderr, "ssi shell: %s\n", become(words).text().c_str());
  ::_exit(1);
}

Result<Fd> take_listener(const Fd& socket, bool is_inside) {
  std::array<char, 200> said;
  auto received = receive_with_fds(socket.get(), said);
  if (!received) return tl::make_unexpected(received.error());
  if (received->fds.size() == 1) return std::move(received->fds[0]);
  // Another such shell's supervisor does it all already. Anybody else's must not be taken for ours, nor should the deputy:
  // the command would have no filter of ours.
  if (received->bytes == 1 && is_inside) return Fd();
  if (received->bytes == 1)
    return failure("another program listens to execve(2) here already, and one only can");
  return failure(received->bytes ? std::string(said.data(), received->bytes)
                                 : "the command's process has died");
}

// As the command has ended.
int end_as(int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  const rlimit none{0, 0};  // its core is enough
  ::setrlimit(RLIMIT_CORE, &none);
  ::signal(WTERMSIG(status), SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, WTERMSIG(status));
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

// Adopted children too: we are the subreaper.
std::optional<int> reap(pid_t command) {
  std::optional<int> end;
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | __WALL)) > 0;)
    if (pid == command) end = status;
  return end;
}

// What comes from the terminal the command gets as well.
void pass_on(const signalfd_siginfo& signal, pid_t command) {
  if (signal.ssi_signo != SIGCHLD && signal.ssi_code <= 0)
    ::kill(command, static_cast<int>(signal.ssi_signo));
}

int supervise(ExecNotices& notices, const Fd& listener, const Fd& signals, pid_t command) {
  pollfd wait[] = {{signals.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return 1;
    if (wait[1].revents & POLLIN) notices.answer(listener.get());
    if (wait[1].revents & (POLLHUP | POLLERR)) wait[1].fd = -1;
    signalfd_siginfo signal{};
    if (!(wait[0].revents & POLLIN) || ::read(signals.get(), &signal, sizeof signal) != sizeof signal)
      continue;
    pass_on(signal, command);
    if (signal.ssi_signo != SIGCHLD) continue;
    if (const auto end = reap(command)) return *end;
  }
}

// What the command leaves running would fail at its next execve(2) with nobody to answer. From now on it runs at home.
void leave_answering(ExecNotices& notices, const Fd& listener) {
  pollfd wait{listener.get(), POLLIN, 0};
  if (::poll(&wait, 1, 0) >= 0 && wait.revents & (POLLHUP | POLLERR)) return;
  if (::fork() != 0) return;
  ::setsid();
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd <= 2; fd++) ::dup2(null.get(), fd);
  if (::chdir("/") != 0) ::_exit(1);
  notices.divert_nothing();
  while (::poll(&wait, 1, -1) > 0 && !(wait.revents & (POLLHUP | POLLERR))) notices.answer(listener.get());
  ::_exit(0);
}

}  // namespace

Result<int> run_trace_shell(const std::vector<std::string>& names, const std::vector<std::string>& words) {
  const bool is_inside = ::getenv(inside_variable) != nullptr;
  ::setenv(inside_variable, "1", 1);
  const auto ssirun = paths::sibling("ssirun");
  if (!ssirun) return tl::make_unexpected(ssirun.error());
  const auto runtime = paths::runtime_dir();
  if (!runtime) return tl::make_unexpected(runtime.error());
  auto notices = ExecNotices::create({names.begin(), names.end()}, *ssirun, *runtime);
  if (!notices) return tl::make_unexpected(notices.error());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return os_error("socketpair");
  Fd ours(ends[0]), theirs(ends[1]);
  const auto watched = watched_signals();
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, &watched, &mask);
  const Fd signals(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const pid_t command = ::fork();
  if (command < 0) return os_error("fork");
  if (command == 0) {
    ours.reset();
    become_command(theirs, words, mask);
  }
  theirs.reset();
  const auto listener = take_listener(ours, is_inside);
  if (!listener) return tl::make_unexpected(listener.error());
  if (auto told = send_packet(ours.get(), 'g'); !told) return tl::make_unexpected(told.error());
  const int status = supervise(*notices, *listener, signals, command);
  if (*listener) leave_answering(*notices, *listener);
  return end_as(status);
}

}  // namespace ssi
