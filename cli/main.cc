// SPDX-License-Identifier: LGPL-2.1-or-later
// `ssi`: a table of subcommands.
#include <fmt/format.h>
#include <getopt.h>

#include <cstdio>
#include <string_view>

#include "cli/allow.h"
#include "cli/desktop.h"
#include "cli/doctor.h"
#include "cli/drain.h"
#include "cli/guest_build.h"
#include "cli/guests.h"
#include "cli/history.h"
#include "cli/key.h"
#include "cli/kill.h"
#include "cli/options.h"
#include "cli/pool.h"
#include "cli/ps.h"
#include "cli/shell.h"
#include "cli/shims.h"
#include "cli/status.h"

namespace {

struct Command {
  const char* name;
  int (*run)(int argc, char** argv);
  const char* usage;
  const char* what;
};

constexpr Command commands[] = {
    {"pool", ssi::pool_command, "pool up [--guests N] | pool down", "the embedded pool on this machine"},
    {"status", ssi::status_command, "status [--json]", "the guests: state, load, memory, jobs"},
    {"guests", ssi::guests_command, "guests list | token [--for 30m]",
     "who is in the pool; a token to join it"},
    {"guests", ssi::guests_command, "guests approve | revoke GUEST", "take a machine in, or send it away"},
    {"ps", ssi::ps_command, "ps [--json]", "the jobs that run in the pool"},
    {"kill", ssi::kill_command, "kill JOB [-s SIG]", "send a signal to a job of yours"},
    {"drain", ssi::drain_command, "drain GUEST [--now]", "no new jobs there; waits until the last has ended"},
    {"resume", ssi::resume_command, "resume GUEST", "it takes jobs again"},
    {"history", ssi::history_command, "history [--json] [--limit N]", "your jobs that have ended"},
    {"why", ssi::why_command, "why JOB", "why it ran where it ran"},
    {"doctor", ssi::doctor_command, "doctor", "what is missing here, and the cure"},
    {"shell", ssi::shell_command, "shell [--deep | --trace] [COMMAND]", "a shell whose heavy commands run in guests"},
    {"shims", ssi::shims_command, "shims install | remove DIR [NAME...]",
     "links on PATH that divert: for static and Go callers too"},
    {"desktop", ssi::desktop_command, "desktop install | remove NAME...",
     "heavy commands of an application that the desktop starts"},
    {"allow", ssi::allow_command, "allow check PATH [ARG...]", "which rule matches, what would happen"},
    {"allow", ssi::allow_command, "allow compile [--system]", "make the shim's table from the config"},
    {"guest", ssi::guest_command, "guest build DIR", "the Xen guest to copy: kernel, initramfs, cfg"},
    {"key", ssi::key_command, "key show", "the public key of this user's deputy"},
};

int print_help() {
  fmt::print("usage: ssi COMMAND ...    runs heavy commands on idle machines; see also ssirun --help\n\n");
  for (const auto& command : commands) fmt::print("  ssi {:<34} {}\n", command.usage, command.what);
  fmt::print(
      "\nTo start:\n"
      "  ssi pool up                            two guests on this machine; root's are for everybody\n"
      "  ssirun -v --remote ffmpeg -version     runs in one of them, on your own files\n"
      "  ssi pool down\n"
      "\n  --help after any command says more; --version\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  static const option options[] = {
      {"help", no_argument, nullptr, 'h'}, {"version", no_argument, nullptr, 'V'}, {nullptr, 0, nullptr, 0}};
  opterr = 0;
  for (int c; (c = getopt_long(argc, argv, "+h", options, nullptr)) != -1;) {
    if (c == 'h') return print_help();
    if (c == 'V') {
      fmt::print("ssi {}\n", SSI_VERSION);
      return 0;
    }
    fmt::print(stderr, "ssi: unknown option '{}'; try 'ssi --help'\n", argv[optind - 1]);
    return ssi::exit_usage;
  }
  if (optind == argc) {
    fmt::print(stderr, "ssi: which command? try 'ssi --help'\n");
    return ssi::exit_usage;
  }
  std::string_view name = argv[optind];
  for (const auto& command : commands)
    if (name == command.name) return command.run(argc - optind, argv + optind);
  fmt::print(stderr, "ssi: unknown command '{}'; try 'ssi --help'\n", name);
  return ssi::exit_usage;
}
