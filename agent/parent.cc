// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/parent.h"

#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <ctime>
#include <list>
#include <set>
#include <vector>

#include "agent/home.h"
#include "agent/inside.h"
#include "agent/oom_score.h"
#include "agent/reporter.h"
#include "agent/rootless.h"
#include "agent/stem.h"
#include "agent/store_room.h"
#include "agent/tickets.h"
#include "common/fd_passing.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/speed.h"
#include "common/user_namespace.h"

namespace ssi {
namespace {

constexpr std::size_t max_homes = 256;     // sessions at once
constexpr std::size_t max_strangers = 32;  // of them, not yet authenticated
constexpr std::int64_t arrive_ms = 5'000;  // for a connection to say what it is
constexpr std::int64_t abort_ms = 1000;    // for a stem to abort its view before its cgroup is killed
constexpr std::int64_t told_ms = 200;      // for the scheduler to hear that we end, and what it placed before to come
constexpr std::int64_t said_ms = 300;      // for sessions to say that they end at once
constexpr uid_t nobody = 4'293'999'999;    // not 65534, which may be a home's user
constexpr std::uint64_t first_outer_root = 4'294'000'000, max_outer_roots = 900'000;

// Both ends of a packet socket: closing either is seen by the other.
Result<std::array<Fd, 2>> packet_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return os_error("socketpair");
  return std::array<Fd, 2>{Fd(ends[0]), Fd(ends[1])};
}

// A forked process must not hold what belongs to its siblings: a kept socket would hide its owner's death.
void keep_only(std::vector<int> fds) {
  std::sort(fds.begin(), fds.end());
  unsigned next = 3;
  for (const int fd : fds) {
    const auto kept = static_cast<unsigned>(fd);
    if (kept < next) continue;
    if (kept > next) ::close_range(next, kept - 1, 0);
    next = kept + 1;
  }
  ::close_range(next, ~0U, 0);
}

std::int64_t now_ms() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void default_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A job keeps its home's ids inside its user namespace. Outside they are the same, but for root, which is an id of this
// home alone: the guest's kernel trusts root's number itself in places (sysctl), whatever its capabilities are.
std::string id_map(std::uint64_t outer_root) {
  const auto extent = [](std::uint64_t inner, std::uint64_t outer, std::uint64_t count) {
    return std::to_string(inner) + " " + std::to_string(outer) + " " + std::to_string(count) + "\n";
  };
  constexpr auto after = first_outer_root + max_outer_roots;
  // Of our own block only this home's root, and nobody, who makes the jobs' pipes.
  return extent(0, outer_root, 1) + extent(1, 1, nobody) + extent(after, after, 0xffffffffULL - after);
}

// A cgroup for all processes of one home, so that none can escape its end. Where cgroup v2 is not mounted there is none,
// and a job's end rests on its pid namespace alone.
class HomeCgroup {
 public:
  void make(pid_t stem) {
    path_ = "/sys/fs/cgroup/home-" + std::to_string(stem);
    if (::mkdir(path_.c_str(), 0755) != 0 || !write("cgroup.procs", std::to_string(stem))) path_.clear();
  }
  void kill() {
    if (!path_.empty()) write("cgroup.kill", "1");
  }
  bool remove() {
    return path_.empty() || ::rmdir(path_.c_str()) == 0 || errno != EBUSY;
  }  // false: not empty yet

 private:
  bool write(const char* file, const std::string& text) const {
    const Fd fd(::open((path_ + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  std::string path_;
};

struct Home {
  pid_t pid = 0;
  Fd socket;
  bool has_stem = false;
  std::string session;  // by which connections are passed to it
  std::set<std::uint64_t> jobs;
  HomeCgroup cgroup;
  std::int64_t kill_at_ms = 0;  // it was told to end; 0: it was not
};

class Parent {
 public:
  Parent(const AgentOptions& options, const Identity& self, Fd listener)
      : options_(options), self_(self), listener_(std::move(listener)) {}

  Status run();

 private:
  Status watch_signals();
  Status start_reporter();
  void take_signal();
  void begin_to_end(bool now);
  bool may_end();
  void drain(bool yes);
  void end_jobs();
  void accept_connection();
  void take_from_reporter();
  bool hear(Fd& connection);  // false: wait for more
  void serve_connection(Fd connection);
  bool resume(const std::string& session, const Fd& connection);  // false: no home has it
  std::size_t strangers() const;
  bool serve(Home& home);  // false: gone
  void make_stem(Home& home, const Ids& user);
  void give_store(Home& home, std::string_view sealed);
  void job_changed(Home& home, const inside::ToParent& told);
  void home_gone(Home& home);
  void end_cgroups();

  // Runs `body` in a child that holds only `keep`.
  template <class Body>
  pid_t fork_child(std::vector<int> keep, Body body) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    keep_only(std::move(keep));
    default_signals();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(body());
  }

  const AgentOptions& options_;
  const Identity& self_;
  Listener listener_;
  Fd signals_, reporter_;
  pid_t reporter_pid_ = 0;
  const double speed_ = measure_speed();
  std::uint64_t homes_made_ = 0;
  std::list<Home> homes_;
  struct Arriving {
    Fd connection;
    std::int64_t until_ms;
  };
  std::list<Arriving> arriving_;  // have not said whether they begin a session or resume one
  struct Ending {
    HomeCgroup cgroup;  // to be removed when its last process has been reaped
    std::int64_t kill_at_ms;
  };
  std::list<Ending> ending_;
  StoreRoom stores_{options_.cache, static_cast<std::uint64_t>(options_.cache_mib * (1 << 20))};
  bool told_no_store_ = false;
  std::int64_t reporter_started_ms_ = 0;
  bool is_protected_ = false;                        // from the kernel's want of memory
  bool drained_ = false;                             // by an administrator
  std::int64_t end_after_ms_ = 0, end_before_ms_ = 0;  // 0: nobody wants us to end
};

Status Parent::watch_signals() {
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT}) ::sigaddset(&watched, number);
  ::sigprocmask(SIG_BLOCK, &watched, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_.reset(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) return os_error("signalfd");
  return {};
}

Status Parent::start_reporter() {
  auto pair = packet_pair();
  if (!pair) return tl::make_unexpected(pair.error());
  Fd ours = std::move((*pair)[0]), theirs = std::move((*pair)[1]);
  reporter_pid_ =
      fork_child({theirs.get()}, [&] { return run_reporter(options_, self_, speed_, std::move(theirs)); });
  if (reporter_pid_ < 0) return os_error("fork");
  reporter_ = std::move(ours);
  reporter_started_ms_ = now_ms();
  drain(drained_);
  return {};
}

std::size_t Parent::strangers() const {
  const auto homes = std::count_if(homes_.begin(), homes_.end(), [](const Home& home) { return !home.has_stem; });
  return static_cast<std::size_t>(homes);
}

void Parent::accept_connection() {
  Fd connection = listener_.accept();
  if (!connection) return;
  // The one that has been silent for longest makes room: a link that is to go on must not wait for strangers.
  if (arriving_.size() >= max_strangers) arriving_.pop_front();
  // Readable when as much has come as resumes a session; a TLS hello is longer.
  const int enough = 1 + wire::session_size;
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVLOWAT, &enough, sizeof enough);
  arriving_.push_back({std::move(connection), now_ms() + arrive_ms});
}

// All that we look at of what comes from the network: a mark, and bytes that are compared.
bool Parent::hear(Fd& connection) {
  char bytes[1 + wire::session_size];
  const auto size = ::recv(connection.get(), bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  const int any = 1;
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVLOWAT, &any, sizeof any);
  if (size == sizeof bytes && bytes[0] == wire::resume_mark) {
    (void)!::recv(connection.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (resume({bytes + 1, wire::session_size}, connection)) return true;
  }
  // One that we do not know is told so by a process that can authenticate itself.
  if (size > 0) serve_connection(std::move(connection));
  return true;
}

bool Parent::resume(const std::string& session, const Fd& connection) {
  const auto home = std::find_if(homes_.begin(), homes_.end(), [&](const Home& one) { return one.session == session; });
  if (home == homes_.end()) return false;
  const inside::FromParent packet{inside::FromParent::connection};
  const int passed = connection.get();
  (void)send_with_fds(home->socket.get(), {reinterpret_cast<const char*>(&packet), sizeof packet}, {&passed, 1},
                      MSG_DONTWAIT);
  return true;
}

void Parent::take_from_reporter() {
  using inside::FromReporter;
  FromReporter packet;
  auto got = receive_with_fds(reporter_.get(), {reinterpret_cast<char*>(&packet), sizeof packet});
  if (!got || got->bytes != sizeof packet) return;
  if (packet.kind == FromReporter::dialled && got->fds.size() == 1) {
    const std::string session(packet.session, sizeof packet.session);
    if (!resume(session, got->fds.front())) serve_connection(std::move(got->fds.front()));
  }
  if (packet.kind == FromReporter::drain || packet.kind == FromReporter::resume)
    drain(packet.kind == FromReporter::drain);
  if (packet.kind == FromReporter::end_jobs) end_jobs();
}

// What was placed here before the scheduler heard of it still comes, and is served.
void Parent::drain(bool yes) {
  drained_ = yes;
  send_packet(reporter_.get(), inside::Draining{drained_ || end_before_ms_ != 0});
}

// As if this guest had died; but their homes hear it at once. Homes without a job too: one may be about to start.
void Parent::end_jobs() {
  for (auto& home : homes_) {
    if (home.kill_at_ms != 0) continue;
    ::kill(home.pid, SIGINT);
    home.kill_at_ms = now_ms() + abort_ms;
  }
}

void Parent::serve_connection(Fd connection) {
  if (homes_.size() >= max_homes || strangers() >= max_strangers) return;  // the peer sees the connection closed
  auto pair = packet_pair();
  if (!pair) return log::error("a session cannot begin: {}", pair.error().text());
  Fd ours = std::move((*pair)[0]), theirs = std::move((*pair)[1]);
  const pid_t pid = fork_child({connection.get(), theirs.get()}, [&] {
    return run_home(options_, self_, std::move(connection), std::move(theirs));
  });
  if (pid < 0) return log::error("a session cannot begin: {}", os_error("fork").value().text());
  homes_.push_back({pid, std::move(ours), false, {}, {}, {}, 0});
}

// The child makes its user namespace; only we may write its maps.
void Parent::make_stem(Home& home, const Ids& user) {
  auto data = packet_pair(), sync = packet_pair();
  if (!data || !sync || home.has_stem) {
    if (!home.has_stem) log::error("a session cannot begin: {}", (data ? sync : data).error().text());
    send_packet(home.socket.get(), inside::FromParent{inside::FromParent::stem, EAGAIN});
    return;
  }
  Fd for_home = std::move((*data)[0]), for_stem = std::move((*data)[1]);
  Fd ours = std::move((*sync)[0]), theirs = std::move((*sync)[1]);
  const pid_t pid = fork_child({for_stem.get(), theirs.get()}, [&] {
    char byte = 0;
    oom_score::set(is_protected_ ? oom_score::stem : oom_score::stem_of_unprotected);
    if (::unshare(CLONE_NEWUSER) != 0 || ::write(theirs.get(), &byte, 1) != 1 ||
        ::read(theirs.get(), &byte, 1) != 1)
      return 1;
    if (!options_.squash_ids && (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0)) return 1;
    theirs.reset();
    return run_stem(std::move(for_stem), options_.squash_ids);
  });
  theirs.reset();
  const auto root = first_outer_root + homes_made_++ % max_outer_roots;
  char byte = 0;
  bool mapped = pid > 0 && ::read(ours.get(), &byte, 1) == 1;
  for (const auto& [file, only] : {std::pair("uid_map", user.uid), std::pair("gid_map", user.gid)}) {
    if (!mapped) break;
    const auto ids = options_.squash_ids ? std::to_string(only) + " 0 1\n" : id_map(root);
    const Fd map(::open(("/proc/" + std::to_string(pid) + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    mapped = ::write(map.get(), ids.data(), ids.size()) == static_cast<ssize_t>(ids.size());
  }
  if (mapped) home.cgroup.make(pid);
  mapped = mapped && ::write(ours.get(), &byte, 1) == 1;
  home.has_stem = mapped;
  const int passed = for_home.get();
  if (mapped)
    send_packet(home.socket.get(), inside::FromParent{inside::FromParent::stem}, {&passed, 1});
  else
    send_packet(home.socket.get(), inside::FromParent{inside::FromParent::stem, EPERM});
}

bool Parent::serve(Home& home) {
  inside::ToParent packet;
  const auto got = ::recv(home.socket.get(), &packet, sizeof packet, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (!packet.is_whole(static_cast<std::size_t>(got))) return false;
  if (packet.kind == inside::ToParent::want_stem) {
    home.session.assign(packet.session, sizeof packet.session);
    make_stem(home, {packet.uid, packet.gid});
  } else if (packet.kind == inside::ToParent::want_store) {
    give_store(home, {packet.ticket, packet.ticket_size});
  } else {
    job_changed(home, packet);
  }
  return true;
}

// Home processes share an account, but not a way to each other's directories. One that lies cannot have another home's ticket.
void Parent::give_store(Home& home, std::string_view sealed) {
  inside::FromParent answer{inside::FromParent::store, EACCES};
  std::vector<int> passed;
  StoreRoom::Store store;
  if (const auto ticket = open_ticket(options_, self_, sealed)) {
    auto opened = stores_.open(ticket->home_key, options_.squash_ids ? ::geteuid() : nobody);
    if (opened) {
      store = std::move(*opened);
      answer = {inside::FromParent::store, 0, store.limit};
      passed.push_back(store.directory.get());
    } else {
      answer.error = opened.error().code.value();
      if (answer.error != EBUSY && !std::exchange(told_no_store_, true))
        log::warning("no content is kept from one session to the next: {}", opened.error().text());
    }
  }
  // Not waiting: one that asks and does not listen must not hold us up.
  (void)send_with_fds(home.socket.get(), {reinterpret_cast<const char*>(&answer), sizeof answer}, passed, MSG_DONTWAIT);
}

// Passes on what a home process says of its own jobs.
void Parent::job_changed(Home& home, const inside::ToParent& told) {
  using inside::JobsChanged, inside::ToParent;
  JobsChanged change{JobsChanged::used, told.job, told.names, told.cpu_us, told.memory};
  bool is_true = home.jobs.contains(told.job);
  if (told.kind == ToParent::job_started) {
    change.kind = JobsChanged::started;
    is_true = home.jobs.insert(told.job).second;
  } else if (told.kind == ToParent::job_ended) {
    change.kind = JobsChanged::ended;
    is_true = home.jobs.erase(told.job) > 0;
  }
  if (!is_true) return;
  if (change.kind == JobsChanged::used)  // may be lost: we must not wait for a reporter that hangs
    (void)::send(reporter_.get(), &change, sizeof change, MSG_DONTWAIT | MSG_NOSIGNAL);
  else
    send_packet(reporter_.get(), change);
}

// Its jobs die with it: their control sockets have closed, which kills them; the cgroup makes sure.
void Parent::home_gone(Home& home) {
  while (!home.jobs.empty()) job_changed(home, {inside::ToParent::job_ended, *home.jobs.begin(), {}, 0, 0});
  ending_.push_back({std::move(home.cgroup), now_ms() + abort_ms});
}

void Parent::end_cgroups() {
  ending_.remove_if([](Ending& ending) {
    if (now_ms() >= ending.kill_at_ms) ending.cgroup.kill();
    return ending.cgroup.remove();
  });
}

void Parent::take_signal() {
  signalfd_siginfo signal;
  while (::read(signals_.get(), &signal, sizeof signal) == sizeof signal)
    if (signal.ssi_signo != SIGCHLD) begin_to_end(signal.ssi_signo != SIGTERM || end_before_ms_ != 0);
  // As pid 1 of a guest we inherit and reap everybody's orphans.
  for (pid_t pid; (pid = ::waitpid(-1, nullptr, WNOHANG)) > 0;)
    if (pid == reporter_pid_) {
      log::error("the reporter died; starting it again");
      reporter_.reset();
    }
}

void Parent::begin_to_end(bool now) {
  end_before_ms_ = now_ms() + (now ? 0 : static_cast<std::int64_t>(options_.drain_seconds * 1000));
  end_after_ms_ = now ? 0 : now_ms() + told_ms;
  if (!now) log::info("ends when no job runs, or in {} s", options_.drain_seconds);
  drain(drained_);
}

// The sessions end when home has what was said last, since a job's end is to be heard of; or because time is up. They say
// so to their homes.
bool Parent::may_end() {
  const auto now = now_ms();
  if (end_before_ms_ == 0 || now < end_after_ms_) return false;
  const bool late = now >= end_before_ms_;
  const auto has_jobs = [](const Home& home) { return !home.jobs.empty(); };
  if (!late && std::any_of(homes_.begin(), homes_.end(), has_jobs)) return false;
  for (const auto& home : homes_) ::kill(home.pid, late ? SIGINT : SIGTERM);
  return homes_.empty() || now >= end_before_ms_ + said_ms;
}

Status Parent::run() {
  ::mkdir(inside::view_path, 0755);
  is_protected_ = oom_score::set(oom_score::agent);
  if (auto watching = watch_signals(); !watching) return watching;
  if (auto reporting = start_reporter(); !reporting) return reporting;
  for (;;) {
    // poll(2) ignores descriptors that are not there: no listener in a guest that dials out.
    std::vector<pollfd> wanted{
        {signals_.get(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}, {reporter_.get(), POLLIN, 0}};
    for (const auto& home : homes_) wanted.push_back({home.socket.get(), POLLIN, 0});
    for (const auto& one : arriving_) wanted.push_back({one.connection.get(), POLLIN, 0});
    const bool kills = std::any_of(homes_.begin(), homes_.end(), [](const Home& home) { return home.kill_at_ms; });
    const bool busy = !ending_.empty() || !arriving_.empty() || !reporter_ || kills;
    const int patience = end_before_ms_ != 0 ? 20 : busy ? 200 : -1;
    if (::poll(wanted.data(), wanted.size(), patience) < 0 && errno != EINTR) return os_error("poll");
    std::size_t at = 3;
    const auto heard_from = wanted.begin() + 3 + static_cast<std::ptrdiff_t>(homes_.size());
    for (auto home = homes_.begin(); home != homes_.end(); ++at) {
      const bool gone = wanted[at].revents != 0 && !serve(*home);
      if (gone) home_gone(*home);
      home = gone ? homes_.erase(home) : std::next(home);
    }
    arriving_.remove_if([this, said = heard_from](Arriving& one) mutable {
      return ((said++)->revents != 0 && hear(one.connection)) || now_ms() >= one.until_ms;
    });
    if (wanted[1].revents) accept_connection();
    if (wanted[2].revents & POLLIN) take_from_reporter();
    if (wanted[0].revents) take_signal();
    if (may_end()) return {};
    for (const auto& home : homes_)
      if (home.kill_at_ms != 0 && now_ms() >= home.kill_at_ms) ::kill(home.pid, SIGKILL);
    end_cgroups();
    if (!reporter_ && now_ms() - reporter_started_ms_ > 1000)
      if (auto again = start_reporter(); !again) return again;
  }
}

}  // namespace

Status give_up_privileges(const AgentOptions& options) {
  if (options.squash_ids) return give_up_capabilities();
  if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
      ::setresuid(nobody, nobody, nobody) != 0)
    return os_error("become nobody");
  // A new uid clears the parent-death signal.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    return os_error("prctl");
  return {};
}

Status run_parent(const AgentOptions& options, const Identity& self, Fd listener) {
  return Parent(options, self, std::move(listener)).run();
}

}  // namespace ssi
