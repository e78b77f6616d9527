// SPDX-License-Identifier: LGPL-2.1-or-later
#include <getopt.h>
#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "agent/agent_config.h"
#include "agent/domain_key.h"
#include "agent/parent.h"
#include "agent/rootless.h"
#include "common/config.h"
#include "common/identity.h"
#include "common/log.h"
#include "common/tcp.h"
#include "common/user_namespace.h"

namespace {

using namespace ssi;

constexpr const char* help =
    R"(usage: ssi-agent --config FILE
       ssi-agent --name NAME --scheduler HOST:PORT --scheduler-key KEY --key FILE (--listen HOST:PORT | --dial-out)
Runs jobs for the homes that the scheduler sends here. The one program that a guest needs. As root every user keeps his
ids; as an ordinary user (user namespaces, and a /dev/fuse that all may open) a home has one id.
  --config FILE         TOML with name, scheduler, scheduler_key, key, listen or dial = "out", token, cache, cache_mib and drain_seconds;
                        what the command line says counts more
  --name NAME           the name that this guest would like to have in the pool
  --scheduler HOST:PORT where the scheduler listens; several, with commas between them: it reports to all
  --scheduler-key KEY   its public key, 64 hexadecimal digits; one for all of them, or one for each
  --listen HOST:PORT    where homes connect to, as they can reach it
  --dial-out            homes cannot connect here: connect to those that ask for it
  --key FILE            this guest's own key; made when it is not there, or was made in another Xen domain
  --token-file FILE     the enrolment token (ssi guests token); without one it waits for 'ssi guests approve'
  --cache DIR           where homes' content is kept from one session to the next (/var/cache/ssi), if it is root's or ours alone
  --cache-mib N         so much of it at most, for all homes (half of that file system, 1024 at most)
  --drain-seconds N     SIGTERM lets the jobs that run end, for so long (10); a second one, or SIGINT, ends it at once
  --version, --help
)";

constexpr option options_table[] = {{"config", required_argument, nullptr, 'c'},
                                    {"name", required_argument, nullptr, 'n'},
                                    {"scheduler", required_argument, nullptr, 's'},
                                    {"scheduler-key", required_argument, nullptr, 'k'},
                                    {"listen", required_argument, nullptr, 'l'},
                                    {"dial-out", no_argument, nullptr, 'd'},
                                    {"key", required_argument, nullptr, 'f'},
                                    {"token-file", required_argument, nullptr, 't'},
                                    {"cache", required_argument, nullptr, 'C'},
                                    {"cache-mib", required_argument, nullptr, 'M'},
                                    {"drain-seconds", required_argument, nullptr, 'e'},
                                    {"version", no_argument, nullptr, 'V'},
                                    {"help", no_argument, nullptr, 'h'},
                                    {}};

[[noreturn]] void die(const std::string& line) {
  std::fprintf(stderr, "ssi-agent: %s\n", line.c_str());
  std::exit(1);
}

// The file first, wherever it stands: each option counts more.
void read_config(int argc, char** argv, AgentOptions& options) {
  for (int c; (c = ::getopt_long(argc, argv, "+", options_table, nullptr)) != -1;) {
    if (c == '?') die("try 'ssi-agent --help'");
    if (c != 'c') continue;
    if (auto loaded = load_agent_config(optarg, options); !loaded) die(loaded.error().text());
  }
  optind = 0;  // glibc starts anew
}

double parse_number(const std::string& option, const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || !(number >= 0 && number <= 1e6))
    die(option + ": '" + text + "' is not a number from 0 to 1000000");
  return number;
}

std::string read_token(const char* file) {
  std::string token;
  if (!(std::ifstream(file) >> token)) die(std::string("--token-file ") + file + ": holds no token");
  return token;
}

AgentOptions parse(int argc, char** argv) {
  AgentOptions options;
  read_config(argc, argv, options);
  for (int c; (c = ::getopt_long(argc, argv, "+", options_table, nullptr)) != -1;) {
    switch (c) {
      case 'n':
        options.name = optarg;
        break;
      case 's':
        options.schedulers = split_list(optarg);
        break;
      case 'l':
        options.listen = optarg;
        options.dials_out = false;
        break;
      case 'd':
        options.listen.clear();
        options.dials_out = true;
        break;
      case 't':
        options.token = read_token(optarg);
        break;
      case 'e':
        options.drain_seconds = parse_number("--drain-seconds", optarg);
        break;
      case 'c':
        break;
      case 'C':
        options.cache = optarg;
        break;
      case 'M':
        options.cache_mib = parse_number("--cache-mib", optarg);
        break;
      case 'f':
        options.key_file = optarg;
        break;
      case 'k':
        if (auto keys = parse_keys(optarg))
          options.scheduler_keys = std::move(*keys);
        else
          die("--scheduler-key: " + keys.error().text());
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
  if (auto complete = check_complete(options); !complete) die(complete.error().text());
  options.uuid = domain_uuid();
  return options;
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
  auto options = parse(argc, argv);
  log::start("ssi-agent");
  if (::geteuid() != 0)
    if (const auto entered = become_root_of_own_namespaces(); !entered) die(entered.error().text());
  options.squash_ids = !has_all_ids();
  const auto self = domain_key(options.key_file, options.uuid);
  if (!self) die(self.error().text());
  Fd listener;
  if (!options.dials_out) {
    auto listening = listen_tcp(options.listen);
    if (!listening) die("--listen: " + listening.error().text());
    listener = std::move(*listening);
  }
  raise_limits();
  log::info("guest={} key={} {}", options.name, fingerprint(self->public_key()),
            options.dials_out ? "dials out" : "takes sessions on " + options.listen);
  if (const auto run = run_parent(options, *self, std::move(listener)); !run) die(run.error().text());
  return 0;
}
