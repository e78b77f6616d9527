// SPDX-License-Identifier: LGPL-2.1-or-later
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/parent.h"
#include "common/identity.h"
#include "common/log.h"

namespace {

using namespace ssi;

constexpr const char* help =
    R"(usage: ssi-agent --name NAME --scheduler HOST:PORT --scheduler-key KEY --listen HOST:PORT --key FILE
Runs jobs for the homes that the scheduler sends here. Needs root; the one program that a guest needs.
  --name NAME           the guest's name in the pool
  --scheduler HOST:PORT where the scheduler listens
  --scheduler-key KEY   its public key, 64 hexadecimal digits (ssi key show)
  --listen HOST:PORT    where homes connect to, as they can reach it
  --key FILE            this guest's own key; made when it is not there
  --version, --help
)";

constexpr option options_table[] = {{"name", required_argument, nullptr, 'n'},
                                    {"scheduler", required_argument, nullptr, 's'},
                                    {"scheduler-key", required_argument, nullptr, 'k'},
                                    {"listen", required_argument, nullptr, 'l'},
                                    {"key", required_argument, nullptr, 'f'},
                                    {"version", no_argument, nullptr, 'V'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {}};

[[noreturn]] void die(const std::string& line) {
  std::fprintf(stderr, "ssi-agent: %s\n", line.c_str());
  std::exit(1);
}

AgentOptions parse(int argc, char** argv) {
  AgentOptions options;
  for (int c; (c = ::getopt_long(argc, argv, "+", options_table, nullptr)) != -1;) {
    switch (c) {
      case 'n':
        options.name = optarg;
        break;
      case 's':
        options.scheduler = optarg;
        break;
      case 'l':
        options.listen = optarg;
        break;
      case 'f':
        options.key_file = optarg;
        break;
      case 'k':
        if (auto key = parse_key(optarg))
          options.scheduler_key = *key;
        else
          die("--scheduler-key: " + key.error().text());
        break;
      case 'V':
        std::puts("ssi-agent " SSI_VERSION);
        std::exit(0);
      case 'h':
        std::fputs(help, stdout);
        std::exit(0);
      default:
        die("try 'ssi-agent --help'");
    }
  }
  if (optind < argc) die(std::string("unexpected argument '") + argv[optind] + "'; try 'ssi-agent --help'");
  if (options.name.empty() || options.scheduler.empty() || options.scheduler_key.empty() ||
      options.listen.empty() || options.key_file.empty())
    die("--name, --scheduler, --scheduler-key, --listen and --key are all needed; try 'ssi-agent --help'");
  return options;
}

Result<Fd> listen_on(const std::string& address) {
  const auto colon = address.rfind(':');
  sockaddr_in at{};
  at.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &at.sin_addr) != 1)
    return failure("--listen " + address + ": expected an address like 198.18.0.11:7701");
  at.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(socket.get(), 64) != 0)
    return os_error("listen on " + address);
  return socket;
}

// Jobs get their home's limits, and a limit can only be lowered in a user namespace: so ours are as high as can be.
void raise_limits() {
  for (int i = 0; i < RLIMIT_NLIMITS; ++i) {
    const auto resource = static_cast<__rlimit_resource>(i);
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(resource, &limit) == 0 || ::getrlimit(resource, &limit) != 0) continue;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(resource, &limit);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  log::start("ssi-agent");
  if (::geteuid() != 0) die("needs root (a guest's agent mounts and makes namespaces)");
  const auto self = Identity::load_or_create(options.key_file);
  if (!self) die(self.error().text());
  auto listener = listen_on(options.listen);
  if (!listener) die(listener.error().text());
  raise_limits();
  log::info("guest={} key={} takes sessions on {}", options.name, fingerprint(self->public_key()),
            options.listen);
  if (const auto run = run_parent(options, *self, std::move(*listener)); !run) die(run.error().text());
  return 0;
}
