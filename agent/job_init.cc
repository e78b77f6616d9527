// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_init.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <optional>

#include "agent/job_descriptors.h"
#include "agent/job_leader.h"
#include "agent/job_spec.h"
#include "agent/job_terminal.h"
#include "agent/namespace_use.h"
#include "agent/oom_score.h"
#include "common/fd_passing.h"
#include "common/log.h"

namespace ssi {
namespace {

using inside::FromInit;

// What a job of home's root keeps, in its user namespace only; every other job keeps nothing.
constexpr int root_keeps[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
                              CAP_FSETID, CAP_SETUID,       CAP_SETGID,          CAP_KILL};

Status finish_namespaces(const inside::StartJob& start) {
  const std::string view = inside::view_path;
  ::sethostname(start.hostname, ::strnlen(start.hostname, sizeof start.hostname));
  ::setdomainname(start.domain, ::strnlen(start.domain, sizeof start.domain));
  constexpr unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("proc", (view + "/proc").c_str(), "proc", quiet, nullptr) != 0) return os_error("mount /proc");
  if (::mount("devpts", (view + "/dev/pts").c_str(), "devpts", MS_NOSUID | MS_NOEXEC,
              "newinstance,ptmxmode=0666,mode=620") != 0)
    return os_error("mount /dev/pts");
  if (::mount("shm", (view + "/dev/shm").c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0)
    return os_error("mount /dev/shm");
  // Stacks the old root on the new one and lets go of it: nothing of the guest is left to be seen.
  if (::chdir(view.c_str()) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0)
    return os_error("pivot into the view");
  return {};
}

Status drop_rights(const inside::StartJob& start, bool squash_ids) {
  const bool root = start.uid == 0;
  cap_t kept = ::cap_init();
  for (int cap = 0; ::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; ++cap) {
    bool keep = false;
    for (const int wanted : root_keeps) keep = keep || (root && cap == wanted);
    if (!keep && ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) return os_error("drop capabilities");
  }
  if (!squash_ids && ::setgroups(start.group_count, start.groups) != 0) return os_error("setgroups");
  if (::setresgid(start.gid, start.gid, start.gid) != 0) return os_error("setresgid");
  if (::setresuid(start.uid, start.uid, start.uid) != 0) return os_error("setresuid");
  if (root)
    for (const cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
      ::cap_set_flag(kept, flag, std::size(root_keeps), root_keeps, CAP_SET);
  const int set = ::cap_set_proc(kept);
  ::cap_free(kept);
  if (set != 0) return os_error("drop capabilities");
  // Other processes of the job have our uid; they must not trace us. No exec of theirs may gain rights.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    return os_error("prctl");
  return {};
}

std::int64_t now_ms() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

class JobInit {
 public:
  JobInit(Fd control, Fd exec_result, Fd signals, Fd proc, JobTerminal terminal, std::vector<Held> files,
          pid_t leader, pid_t group)
      : control_(std::move(control)),
        exec_result_(std::move(exec_result)),
        signals_(std::move(signals)),
        proc_(std::move(proc)),
        terminal_(std::move(terminal)),
        files_(std::move(files)),
        leader_(leader),
        group_(group) {}

  [[noreturn]] void run() {
    for (;;) {
      pollfd wanted[] = {
          {control_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {exec_result_.get(), POLLIN, 0}};
      const auto wait = std::max<std::int64_t>(next_use_ms_ - now_ms(), 0);
      if (::poll(wanted, 3, static_cast<int>(wait)) < 0 && errno != EINTR) ::_exit(1);
      if (wanted[2].revents) take_exec_result();
      if (wanted[1].revents) reap();
      if (wanted[0].revents) take_command();
      if (now_ms() >= next_use_ms_) tell_use();
    }
  }

 private:
  void tell(const FromInit& packet) { (void)send_with_fds(control_.get(), packet.bytes(), {}); }

  void take_exec_result() {
    int error = 0;
    const auto got = ::read(exec_result_.get(), &error, sizeof error);
    exec_result_.reset();
    failed_ = got == sizeof error;
    FromInit packet{};
    packet.kind = failed_ ? FromInit::failed : FromInit::started;
    packet.error = failed_ ? error : 0;
    tell(packet);
  }

  void tell_use() {
    next_use_ms_ = now_ms() + use_ms;
    const auto use = namespace_use(proc_.get());
    FromInit packet{};
    packet.kind = FromInit::used;
    packet.cpu_us = use.cpu_us;
    packet.max_rss = use.memory;
    // A home process that does not take it now does without: we must not wait for it, but see it end.
    (void)send_with_fds(control_.get(), packet.bytes(), {}, MSG_DONTWAIT);
  }

  void take_command() {
    inside::SendSignal command;
    const auto got = ::recv(control_.get(), &command, sizeof command, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got != sizeof command) ::_exit(0);  // closed: the kernel kills all that is left in this namespace
    obey(command);
  }

  void obey(const inside::SendSignal& command) {
    if (command.number > 0)
      send(command);
    else if (command.to)
      terminal_.take_foreground(group_);
    else
      terminal_.put_into_background();
  }

  void send(const inside::SendSignal& command) const {
    if (command.to == wire::Signal::leader) {
      ::kill(leader_, command.number);
      return;
    }
    pid_t group = command.to == wire::Signal::foreground ? terminal_.foreground() : 0;
    if (group <= ::getpgrp()) group = group_;  // nobody's, or parked with us: kill(-1) would be everybody
    // Until the leader has made itself a group of its own there is only its pid.
    if (::kill(-group, command.number) != 0) ::kill(leader_, command.number);
    if (command.to == wire::Signal::foreground && command.number == SIGHUP) ::kill(-group, SIGCONT);
  }

  void reap() {
    signalfd_siginfo ignored;
    while (::read(signals_.get(), &ignored, sizeof ignored) == sizeof ignored) {
    }
    int status;
    rusage usage;
    pid_t pid;
    std::optional<FromInit> leader;
    while ((pid = ::wait4(-1, &status, WNOHANG | WUNTRACED | WCONTINUED, &usage)) > 0) {
      if (pid != leader_) continue;
      if (WIFSTOPPED(status) || WIFCONTINUED(status))
        tell_stop(WIFSTOPPED(status) ? WSTOPSIG(status) : SIGCONT);
      else
        leader = ended(status, usage);
    }
    if (leader && exec_result_) take_exec_result();
    siginfo_t left;
    const bool alone = ::waitid(P_ALL, 0, &left, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
    if (leader) {
      if (failed_) ::_exit(0);
      leader->survivors = !alone;
      take_typed(*leader);
      tell_positions();
      tell(*leader);
    }
    if (alone) ::_exit(0);
  }

  void tell_stop(int number) {
    FromInit packet{};
    packet.kind = FromInit::stopped;
    packet.wait_status = number;
    tell(packet);
  }

  // What survives the leader goes on without us.
  void tell_positions() {
    for (const auto& file : std::exchange(files_, {})) {
      FromInit packet{};
      packet.kind = FromInit::position;
      packet.fd = file.number;
      packet.offset = static_cast<std::uint64_t>(::lseek(file.fd.get(), 0, SEEK_CUR));
      tell(packet);
    }
  }

  // What is typed until the home process stops feeding it is counted there, and found here.
  void take_typed(FromInit& packet) {
    if (!terminal_) return;
    FromInit quiet{};
    quiet.kind = FromInit::quiet;
    tell(quiet);
    for (inside::SendSignal command;;) {
      if (::recv(control_.get(), &command, sizeof command, 0) != sizeof command) ::_exit(0);  // closed
      if (command.number == inside::SendSignal::quiet) break;
      obey(command);
    }
    const auto typed = terminal_.unread();
    packet.typed = static_cast<std::uint16_t>(std::min(typed.size(), sizeof packet.typed_ahead));
    std::memcpy(packet.typed_ahead, typed.data(), packet.typed);
  }

  static FromInit ended(int status, const rusage& usage) {
    const auto us = [](const timeval& time) {
      return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
    };
    FromInit packet{};
    packet.kind = FromInit::exited;
    packet.wait_status = status;
    packet.cpu_us = us(usage.ru_utime) + us(usage.ru_stime);
    packet.max_rss = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
    return packet;
  }

  static constexpr std::int64_t use_ms = 1000;  // short jobs cost nothing

  Fd control_, exec_result_, signals_, proc_;
  JobTerminal terminal_;
  std::vector<Held> files_;
  const pid_t leader_, group_;
  std::int64_t next_use_ms_ = now_ms() + use_ms;
  bool failed_ = false;
};

// The terminal of a job that has one; its master goes to the home process.
Result<JobTerminal> open_terminal(const wire::Start& start, int control) {
  for (const auto& descriptor : start.descriptors) {
    if (descriptor.kind != static_cast<std::uint8_t>(wire::DescriptorKind::terminal)) continue;
    auto terminal = JobTerminal::open(start.terminal, start.window);
    if (!terminal) return terminal;
    const auto master = terminal->take_master();
    FromInit packet{};
    packet.kind = FromInit::terminal;
    const int passed = master.get();
    (void)send_with_fds(control, packet.bytes(), {&passed, 1});
    return terminal;
  }
  return JobTerminal();
}

[[noreturn]] void give_up(const std::vector<Fd>& fds, const Error& why) {
  if (!fds.empty()) {
    FromInit packet{};
    packet.kind = FromInit::failed;
    packet.error = why.code ? why.code.value() : EPROTO;
    (void)send_with_fds(fds[0].get(), packet.bytes(), {});
  }
  log::warning("a job cannot be started: {}", why.text());
  ::_exit(0);
}

// What does not depend on the job.
struct Prepared {
  Fd proc, signals;
};

Result<Prepared> prepare(const inside::StartJob& start, bool squash_ids) {
  ::signal(SIGCHLD, SIG_DFL);
  if (auto done = finish_namespaces(start); !done) return tl::make_unexpected(done.error());
  Prepared prepared;
  prepared.proc.reset(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (auto done = drop_rights(start, squash_ids); !done) return tl::make_unexpected(done.error());
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int number : {SIGCHLD, SIGTTIN, SIGTTOU}) ::sigaddset(&watched, number);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::setsid();
  prepared.signals.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!prepared.signals) return os_error("signalfd");
  return prepared;
}

// What is done for the first time costs a page fault at each step: it is done while nobody waits.
void rehearse() {
  JobSpec nothing;
  nothing.start.descriptors.resize(1);
  nothing.start.limits.resize(1);
  if (const auto memory = nothing.to_memory()) (void)JobSpec::from_memory(memory->get());
}

// In its group, which `first` made when it is not the leader's own.
pid_t start_leader(JobLeader& leader, pid_t first) {
  const pid_t pid = first < 0 ? first : leader.start(first);
  if (pid > 0) ::setpgid(pid, first ? first : pid);  // as it does itself: it may not have come to that
  if (first > 0) ::waitpid(first, nullptr, 0);
  return pid;
}

[[noreturn]] void run_prepared(Prepared prepared, std::vector<Fd> fds) {
  auto spec = JobSpec::from_memory(fds[1].get());
  if (!spec) give_up(fds, spec.error());
  auto terminal = open_terminal(spec->start, fds[0].get());
  if (!terminal) give_up(fds, terminal.error());
  const pid_t group = spec->start.group_leader ? 0 : make_group();
  auto held = open_descriptors(spec->start, fds, terminal->slave());
  if (!held) give_up(fds, held.error());
  int result[2];
  if (::pipe2(result, O_CLOEXEC) != 0) give_up(fds, os_error("pipe").value());
  Fd result_read(result[0]), result_write(result[1]);
  JobLeader leader(*spec, *held, terminal->slave(), result_write.get());
  const pid_t pid = start_leader(leader, group);
  if (pid < 0) give_up(fds, os_error("fork", -pid).value());
  result_write.reset();
  Fd control = std::move(fds[0]);
  fds.clear();  // the job's streams belong to the job alone: their ends must be seen
  auto files = files_of(spec->start, std::move(*held));
  ::close_range(0, 2, 0);
  JobInit(std::move(control), std::move(result_read), std::move(prepared.signals), std::move(prepared.proc),
          std::move(*terminal), std::move(files), pid, group ? group : pid)
      .run();
}

}  // namespace

pid_t clone_init() {
  clone_args args{};
  args.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  args.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) oom_score::raise_job();
  return pid;
}

void run_job_init(const inside::StartJob& start, std::vector<Fd> fds, bool squash_ids) {
  if (fds.size() < 2) ::_exit(1);
  auto prepared = prepare(start, squash_ids);
  if (!prepared) give_up(fds, prepared.error());
  run_prepared(std::move(*prepared), std::move(fds));
}

void run_spare_init(const inside::StartJob& start, Fd stem, bool squash_ids) {
  auto prepared = prepare(start, squash_ids);
  rehearse();
  if (!prepared || ::send(stem.get(), "", 1, MSG_NOSIGNAL) != 1) ::_exit(1);
  char word;
  auto job = receive_with_fds(stem.get(), {&word, 1});
  if (!job || job->bytes != 1 || job->fds.size() < 2) ::_exit(0);  // nobody wants it any more
  stem.reset();
  run_prepared(std::move(*prepared), std::move(job->fds));
}

}  // namespace ssi
