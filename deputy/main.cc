// SPDX-License-Identifier: LGPL-2.1-or-later
#include <getopt.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/handover.h"
#include "common/listener.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/paths.h"
#include "deputy/deputy.h"
#include "deputy/log_file.h"
#include "deputy/watchdog.h"

namespace {

using namespace ssi;

constexpr const char* help = R"(usage: ssi-deputy [--ready-fd N]
Serves this user's files to guests and holds his jobs. ssirun starts it when it is needed; it ends after 10 idle minutes.
  --ready-fd N          write a zero byte there when callers can connect, or why they never will
  --version, --help
)";

constexpr std::size_t start_needs = 14;  // descriptors: the loop aborts without its own
constexpr std::uint64_t cut_log_ms = 60'000;

constexpr option options_table[] = {{"ready-fd", required_argument, nullptr, 'r'},
                                    {"version", no_argument, nullptr, 'V'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {}};

// `ready`: who waits there hears why, since the log may be what cannot be written.
[[noreturn]] void die(const std::string& line, const Fd& ready = {}) {
  std::fprintf(stderr, "ssi-deputy: %s\n", line.c_str());
  if (ready) (void)!::write(ready.get(), line.data(), line.size());
  std::exit(1);
}

int parse_ready_fd(int argc, char** argv) {
  int ready = -1;
  for (int c; (c = ::getopt_long(argc, argv, "+", options_table, nullptr)) != -1;) {
    switch (c) {
      case 'r':
        ready = std::atoi(optarg);
        break;
      case 'V':
        std::puts("ssi-deputy " SSI_VERSION);
        std::exit(0);
      case 'h':
        std::fputs(help, stdout);
        std::exit(0);
      default:
        die("try 'ssi-deputy --help'");
    }
  }
  if (optind < argc) die(std::string("unexpected argument '") + argv[optind] + "'; try 'ssi-deputy --help'");
  return ready;
}

// From here on stderr is the log file.
Status open_log() {
  const auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  return log_file::open(*state + "/deputy.log");
}

Result<Fd> listen_for_callers() {
  const auto directory = paths::runtime_dir();
  if (!directory) return tl::make_unexpected(directory.error());
  const auto path = *directory + "/" HANDOVER_SOCKET;
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.size() >= sizeof at.sun_path) return os_error(path, ENAMETOOLONG);
  std::memcpy(at.sun_path, path.data(), path.size());
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0)
    return failure("another deputy serves " + path);
  ::unlink(path.c_str());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    return os_error("listen on " + path);
  return socket;
}

void remove_socket() {
  if (const auto directory = paths::runtime_dir()) ::unlink((*directory + "/" HANDOVER_SOCKET).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Fd ready(parse_ready_fd(argc, argv));
  if (const auto opened = open_log(); !opened) die(opened.error().text(), ready);
  log::start("ssi-deputy");
  if (!descriptors_left(start_needs)) die(no_descriptors(), ready);
  ::umask(077);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is an errno for the job
  auto watchdog = Watchdog::start();  // without the socket: callers must not reach it when we have died
  if (!watchdog) die(watchdog.error().text(), ready);
  auto listener = listen_for_callers();
  if (!listener) die(listener.error().text(), ready);

  Loop loop;
  {
    auto deputy = Deputy::start(loop, std::move(*listener), std::move(*watchdog));
    if (!deputy) die(deputy.error().text(), ready);
    const SignalWatch term(loop, SIGTERM, [&] { loop.stop(); }),
        interrupt(loop, SIGINT, [&] { loop.stop(); });
    Timer log_cut(loop);
    log_cut.every(cut_log_ms, [] { (void)log_file::cut(); });  // what fails then may succeed next time
    log_cut.unref();
    ::umask(0);  // from now on files are made for jobs, whose umask the guest has applied
    if (ready) (void)!::write(ready.get(), "", 1);
    ready.reset();
    loop.run();
    remove_socket();
  }
  return 0;
}
