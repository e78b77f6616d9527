// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/system/view_world.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <tuple>
#include <utility>
#include <vector>

#include "agent/view.h"
#include "common/fd_passing.h"
#include "common/loop.h"
#include "common/session.h"
#include "deputy/effects.h"
#include "deputy/file_server.h"

namespace ssi::test {
namespace {

constexpr std::uint64_t patience_ms = 60'000;

struct Command {
  char what = 0;
  std::uint32_t index = 0;  // of the mount
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(99);
}

struct Sockets {
  Fd one, other;
  explicit Sockets(int type) {
    int fds[2];
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) die("socketpair");
    one.reset(fds[0]);
    other.reset(fds[1]);
  }
};

Fd nonblocking(Fd fd) {
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return fd;
}

// The test process's side: home and agent.
class World {
 public:
  World(Fd control, ExportPolicy& policy)
      : control_(std::move(control)),
        link_(SOCK_STREAM),
        home_(loop_, nonblocking(std::move(link_.one)), TlsStream::Side::home, home_key_,
              guest_key_.public_key(),
              {[] {}, [this](const Session::Incoming& frame) { serve(frame); }, [](const Error&) {}}),
        guest_(loop_, nonblocking(std::move(link_.other)), TlsStream::Side::guest, guest_key_, {},
               {[] {}, [this](const Session::Incoming& frame) { hear(frame); },
                [this](const Error&) { view_.lost(EIO); }}),
        server_(loop_, home_, effects_, policy),
        view_(loop_, guest_),
        poll_(loop_, control_.get(), [this](int) { command(); }),
        watchdog_(loop_) {
    poll_.want(UV_READABLE);
  }

  wire::Mounts mounts() { return mounts_ = server_.mounts(); }

  bool run() {
    bool in_time = true;
    watchdog_.once(patience_ms, [&] {
      in_time = false;
      loop_.stop();
    });
    loop_.run();
    return in_time;
  }

 private:
  void serve(const Session::Incoming& frame) {
    count(frame);
    if (hanging_)
      kept_.push_back({frame.kind, frame.id, std::string(frame.meta), std::string(frame.body)});
    else if (!server_.handle(frame))
      std::abort();
  }

  void hear(const Session::Incoming& frame) {
    if (const auto changed = wire::unpack<wire::Invalidate>(frame.meta);
        changed && frame.kind == wire::kind_of<wire::Invalidate>())
      view_.invalidate(*changed);
  }

  // The answer to a request comes behind the words of what is stale.
  void barrier() {
    server_.tell_stale();
    guest_.call(wire::Statfs{mounts_.mounts.front().root}, {}, [this](Result<wire::Space>, std::string_view) {
      view_.when_told([this] { (void)send_packet(control_.get(), asked_); });
    });
  }

  void hang(bool on) {
    hanging_ = on;
    if (on) return;
    for (const auto& [kind, id, meta, body] : std::exchange(kept_, {}))
      server_.handle({kind, id, meta, body});
  }

  void count(const Session::Incoming& frame) {
    const auto is = [&](std::uint16_t kind) { return frame.kind == kind ? 1u : 0u; };
    if (is(wire::kind_of<wire::Visited>())) {
      const auto visited = wire::unpack<wire::Visited>(frame.meta)->nodes.size();
      asked_.opened += visited;
      asked_.released += visited;
    }
    asked_.lookups += is(wire::kind_of<wire::Lookup>());
    asked_.reads += is(wire::kind_of<wire::Read>());
    asked_.writes += is(wire::kind_of<wire::Write>());
    asked_.opens += is(wire::kind_of<wire::Open>());
    asked_.opened += is(wire::kind_of<wire::Opened>());
    asked_.flushes += is(wire::kind_of<wire::Flush>());
    asked_.getxattrs += is(wire::kind_of<wire::Getxattr>());
    asked_.readdirs += is(wire::kind_of<wire::Readdir>());
    asked_.released += is(wire::kind_of<wire::Release>());
    if (const auto forget = wire::unpack<wire::Forget>(frame.meta);
        forget && frame.kind == wire::kind_of<wire::Forget>())
      asked_.forgotten += forget->nodes.size();
  }

  void command() {
    Command command;
    auto got = receive_with_fds(control_.get(), {reinterpret_cast<char*>(&command), sizeof command});
    if (!got || got->bytes != sizeof command) return loop_.stop();
    switch (command.what) {
      case 'm': {
        const auto& mount = mounts_.mounts.at(command.index);
        if (!view_.add(mount, std::move(got->fds.at(0)))) std::abort();
        break;
      }
      case 'b':
        return barrier();
      case 'h':
        hang(command.index != 0);
        break;
      case 'l':
        guest_.close({std::error_code(ECONNRESET, std::generic_category()), "test"});
        break;
      default:
        break;
    }
    (void)send_packet(control_.get(), asked_);
  }

  Loop loop_;
  Identity home_key_ = Identity::generate(), guest_key_ = Identity::generate();
  Effects effects_{loop_};
  Fd control_;
  Sockets link_;
  Session home_, guest_;
  FileServer server_;
  View view_;
  Poll poll_;
  Timer watchdog_;
  wire::Mounts mounts_;
  Asked asked_;
  bool hanging_ = false;
  std::vector<std::tuple<std::uint16_t, std::uint32_t, std::string, std::string>> kept_;  // while hanging
};

// Whether the job needs this file system: its base lies there, or it lies below the base.
bool wanted(const std::string& mount, const std::string& base) {
  const auto above = mount == "/" ? mount : mount + "/";
  return base.starts_with(above) || mount.starts_with(base + "/");
}

[[noreturn]] void child(const std::string& base, Fd control, const std::vector<std::string>& mounts,
                        const std::function<void(Guest&)>& job) {
  if (::unshare(CLONE_NEWNS) != 0) die("unshare");
  for (int signal = 1; signal < 32; ++signal) ::signal(signal, SIG_DFL);  // doctest's handlers
  ::umask(022);
  Guest guest(base, std::move(control));
  for (std::uint32_t i = 0; i < mounts.size(); ++i)
    if (wanted(mounts[i], base)) guest.mount(i, mounts[i]);
  job(guest);
  std::fflush(nullptr);
  std::_Exit(std::min(guest.failures(), 90));
}

// Nothing of a test is seen by, or survives in, the machine's own mounts.
void own_mounts() {
  static const bool done = [] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      die("unshare");
    return true;
  }();
  (void)done;
}

}  // namespace

void Guest::mount(std::uint32_t index, const std::string& path) {
  Fd fuse(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  const auto options =
      "fd=" + std::to_string(fuse.get()) + ",rootmode=40000,user_id=0,group_id=0,allow_other,max_read=131072";
  const auto where = root() + (path == "/" ? "" : path);
  if (::mount("ssi", where.c_str(), "fuse.ssi", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    die(where.c_str());
  command('m', index, fuse.get());
}

void Guest::barrier() {
  command('b');
}
void Guest::hang(bool on) {
  command('h', on);
}
void Guest::lose() {
  command('l');
}
Asked Guest::asked() {
  return command('a');
}

Asked Guest::command(char what, std::uint32_t index, int fd) {
  const Command command{what, index};
  if (!send_packet(control_.get(), command, fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1)))
    die("the test process is gone");
  Asked answer;
  const auto got = receive_with_fds(control_.get(), {reinterpret_cast<char*>(&answer), sizeof answer});
  if (!got || got->bytes != sizeof answer) die("the test process is gone");
  return answer;
}

bool Guest::expect(bool ok, const std::string& what) {
  if (!ok) {
    ++failures_;
    std::fprintf(stderr, "expected: %s\n", what.c_str());
  }
  return ok;
}

int run_guest(const std::function<void(Guest&)>& job, const std::function<void(const std::string&)>& setup) {
  own_mounts();
  std::string base = "/tmp/ssi-view-XXXXXX";
  if (!::mkdtemp(base.data())) die("mkdtemp");
  for (const char* name : {"/home", "/local", "/mnt"}) std::filesystem::create_directory(base + name);
  if (setup) setup(base);
  ::umask(0);  // as the deputy's: the guest's kernel has applied the job's
  std::fflush(nullptr);

  pid_t job_process = -1;
  std::vector<std::string> mounts;
  {
    Sockets control(SOCK_SEQPACKET);
    auto policy = ExportPolicy::exactly({});
    World world(std::move(control.one), policy);
    for (const auto& mount : world.mounts().mounts) mounts.push_back(mount.path);
    job_process = ::fork();
    if (job_process == 0) child(base, std::move(control.other), mounts, job);
    control.other.reset();
    if (!world.run()) {
      std::fprintf(stderr, "the guest is stuck\n");
      ::kill(job_process, SIGKILL);
    }
  }
  int status = -1;  // only now: dying, it may still have waited for the view
  ::waitpid(job_process, &status, 0);
  ::umask(022);
  for (const auto& mount : mounts)
    if (mount.starts_with(base + "/")) ::umount2(mount.c_str(), MNT_DETACH);
  std::filesystem::remove_all(base);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace ssi::test
