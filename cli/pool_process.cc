// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_process.h"

#include <fmt/format.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>

namespace ssi {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t start_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  return start_in_stat(line);
}

void reset_signals() {
  for (int number = 1; number < NSIG; number++) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void run_child(const Fd& go, const Fd& error, const std::function<Status()>& body) {
  ::setsid();
  reset_signals();
  char byte;
  if (::read(go.get(), &byte, 1) != 1) ::_exit(0);  // the parent is gone, or thought better of it
  std::string text = body().error().text();
  [[maybe_unused]] ssize_t n = ::write(error.get(), text.data(), text.size());
  ::_exit(127);
}

// Waits until `deadline` for one process to end. A pidfd becomes readable then, even while it is a zombie.
bool has_ended(const Fd& pidfd, Clock::time_point deadline) {
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd one{pidfd.get(), POLLIN, 0};
    int n = ::poll(&one, 1, static_cast<int>(std::max<long>(0, left)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

}  // namespace

std::uint64_t start_in_stat(const std::string& line) {
  auto end_of_name = line.rfind(')');  // the name itself may hold spaces and parentheses
  if (end_of_name == std::string::npos) return 0;
  std::istringstream fields(line.substr(end_of_name + 1));
  std::string word;
  for (int field = 3; field < 22; field++) fields >> word;
  std::uint64_t start = 0;
  fields >> start;
  return fields ? start : 0;
}

Fd open_process(const ProcessId& id) {
  if (id.pid <= 0) return Fd();
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  // Compared after opening: from here on the descriptor cannot come to mean another process.
  if (!pidfd || id.start == 0 || start_of(id.pid) != id.start) return Fd();
  if (has_ended(pidfd, Clock::now())) return Fd();
  return pidfd;
}

bool is_running(const ProcessId& id) {
  return static_cast<bool>(open_process(id));
}

Status end_processes(const std::vector<ProcessId>& ids, int grace_ms) {
  std::vector<std::pair<pid_t, Fd>> left;
  for (const auto& id : ids)
    if (Fd pidfd = open_process(id)) left.emplace_back(id.pid, std::move(pidfd));
  for (int number : {SIGTERM, SIGTERM, SIGKILL}) {  // an agent with jobs ends at the second one
    for (const auto& [pid, pidfd] : left) ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
    auto deadline = Clock::now() + std::chrono::milliseconds(number == SIGTERM ? grace_ms : 5000);
    std::erase_if(left, [&](const auto& process) { return has_ended(process.second, deadline); });
  }
  for (const auto& id : ids) ::waitpid(id.pid, nullptr, WNOHANG);  // when it is our own child: no zombie
  if (!left.empty()) return failure(fmt::format("process {} does not end", left[0].first));
  return {};
}

Result<HeldChild> HeldChild::make(std::uint64_t namespaces, std::function<Status()> body) {
  int go[2], error[2];
  if (::pipe2(go, O_CLOEXEC) != 0) return os_error("pipe");
  Fd go_read(go[0]), go_write(go[1]);
  if (::pipe2(error, O_CLOEXEC) != 0) return os_error("pipe");
  Fd error_read(error[0]), error_write(error[1]);
  clone_args arguments{};
  arguments.flags = namespaces;
  arguments.exit_signal = SIGCHLD;
  long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return os_error("clone");
  if (pid == 0) {
    go_write.reset();
    error_read.reset();
    run_child(go_read, error_write, body);
  }
  HeldChild child;
  child.id_.pid = static_cast<pid_t>(pid);
  child.id_.start = start_of(child.id_.pid);
  child.go_ = std::move(go_write);
  child.error_ = std::move(error_read);
  return child;
}

Status HeldChild::release() {
  if (::write(go_.get(), "g", 1) != 1) return os_error("start a process");
  std::string text;
  char piece[512];
  for (ssize_t n; (n = ::read(error_.get(), piece, sizeof piece)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return os_error("start a process");
    text.append(piece, static_cast<std::size_t>(n));
  }
  go_.reset();
  if (!text.empty()) return failure(text);
  return {};
}

Status exec_daemon(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                   const Fd& log) {
  auto pointers = [](const std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (const auto& text : strings) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
  };
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return os_error("open /dev/null");
  if (::dup2(null.get(), 0) < 0 || ::dup2(log.get(), 1) < 0 || ::dup2(log.get(), 2) < 0)
    return os_error("dup2");
  if (::chdir("/") != 0) return os_error("chdir /");
  ::umask(022);
  // On exec, not now: the pipe that tells the parent of a failure is among them.
  if (::syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return os_error("close_range");
  ::execve(argv.at(0).c_str(), pointers(argv).data(), pointers(environment).data());
  return os_error("exec " + argv[0]);
}

}  // namespace ssi
