// SPDX-License-Identifier: LGPL-2.1-or-later
#include <getopt.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "common/identity.h"
#include "common/log.h"
#include "common/loop.h"
#include "scheduler/service.h"

namespace {

using namespace ssi;

struct Options {
  std::string listen, key, admit;
};

constexpr const char* usage =
    "usage: ssi-scheduler --listen HOST:PORT --key FILE --admit DIR\n"
    "  --listen HOST:PORT  take agents and deputies there\n"
    "  --key FILE          this scheduler's secret key; made when there is none\n"
    "  --admit DIR         NAME.pub files, each one line: guest KEY, deputy KEY, or admin KEY\n"
    "  --version, --help\n";

int complain(const std::string& line) {
  std::fprintf(stderr, "ssi-scheduler: %s\n", line.c_str());
  return 1;
}

// -1: go on; else the exit status.
int parse(int argc, char** argv, Options& options) {
  static const option known[] = {
      {"listen", required_argument, nullptr, 'l'}, {"key", required_argument, nullptr, 'k'},
      {"admit", required_argument, nullptr, 'a'},  {"version", no_argument, nullptr, 'V'},
      {"help", no_argument, nullptr, 'h'},         {nullptr, 0, nullptr, 0}};
  for (int option = 0; (option = ::getopt_long(argc, argv, "", known, nullptr)) != -1;) {
    switch (option) {
      case 'l':
        options.listen = optarg;
        break;
      case 'k':
        options.key = optarg;
        break;
      case 'a':
        options.admit = optarg;
        break;
      case 'V':
        return std::printf("ssi-scheduler %s\n", SSI_VERSION) < 0;
      case 'h':
        return std::fputs(usage, stdout) < 0;
      default:
        return 2;  // getopt has said what
    }
  }
  if (optind < argc) return complain(std::string("unexpected argument '") + argv[optind] + "'"), 2;
  if (options.listen.empty() || options.key.empty() || options.admit.empty())
    return std::fputs(usage, stderr), 2;
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (const int status = parse(argc, argv, options); status >= 0) return status;
  log::start("ssi-scheduler");
  // A connection each for a thousand guests, and then some.
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  auto self = Identity::load_or_create(options.key);
  if (!self) return complain(self.error().text());
  auto admission = Admission::open(options.admit);
  if (!admission) return complain(admission.error().text());

  Loop loop;
  const SignalWatch term(loop, SIGTERM, [&] { loop.stop(); });
  const SignalWatch interrupt(loop, SIGINT, [&] { loop.stop(); });
  const auto fingerprint = ssi::fingerprint(self->public_key());
  const auto service =
      Service::start(loop, options.listen, std::move(*self), std::move(*admission), Tokens(options.admit));
  if (!service) return complain(service.error().text());
  log::info("listening on {} key={}", options.listen, fingerprint);
  loop.run();
  log::info("ended");
  return 0;
}
