// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/shell.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/become.h"
#include "cli/deep_shell.h"
#include "cli/deputy_keeper.h"
#include "cli/diverted.h"
#include "cli/options.h"
#include "cli/preload.h"
#include "cli/trace_shell.h"

namespace ssi {
namespace {

// A single word is a line for sh, more are a command and its arguments.
std::vector<std::string> command_line(const std::vector<std::string>& words) {
  if (words.empty()) {
    const char* shell = ::getenv("SHELL");
    return {shell && *shell ? shell : "/bin/sh"};
  }
  return words.size() == 1 ? std::vector<std::string>{"/bin/sh", "-c", words[0]} : by_shell(words);
}

// What comes behind ssi's own options is the command's, options too.
int count_options(int argc, char** argv) {
  int count = 1;
  while (count < argc && argv[count][0] == '-' && argv[count][1])
    if (std::string_view(argv[count++]) == "--") break;
  return count;
}

constexpr char help[] =
    "usage: ssi shell [--deep | --trace] [COMMAND]\n"
    "A shell ($SHELL), or one COMMAND, whose heavy commands run in guests: those that the [[app]] tables\n"
    "of config.toml, of /etc/ssi/allow.d and of the rules that come with ssi name; 'ssi allow check PROGRAM'\n"
    "tells which they are.\n"
    "  ssi shell\n"
    "  ssi shell 'make -j8 && make install'\n"
    "  ssi shell make -j8\n"
    "It reaches what a dynamically linked program starts (LD_PRELOAD). To reach the callers that are "
    "static,\n"
    "or written in Go, or clear the environment:\n"
    "  --deep   has ssirun mounted over each such program that PATH finds, in a mount namespace. Without "
    "root\n"
    "           set-id programs (sudo, ping, mount) lose their rights inside. Scripts, and programs that "
    "are\n"
    "           installed later or lie elsewhere, are not covered. Who reads such a program's file (ldd, "
    "dpkg -V,\n"
    "           ccache's compiler check: set CCACHE_COMPILERCHECK='%compiler% -v') reads ssirun; one that "
    "runs at\n"
    "           home finds itself (/proc/self/exe) under ~/.local/state/ssi/deep.\n"
    "  --trace  has a supervisor look at each execve(2), by seccomp: programs anywhere, and scripts. Sets\n"
    "           no_new_privs, so set-id programs lose their rights inside, for root too; each start of a "
    "program\n"
    "           takes longer. 32-bit callers, and what a debugger or strace holds, are not reached; what "
    "outlives\n"
    "           the shell runs at home, and after a program has used Landlock all does. x86-64 only.\n"
    "For commands that are looked up on PATH 'ssi shims' does without a shell of its own, for applications that\n"
    "a desktop starts 'ssi desktop'.\n";

}  // namespace

int shell_command(int argc, char** argv) {
  Options options("ssi shell", help);
  bool is_deep = false, is_traced = false;
  options.flag("deep", is_deep);
  options.flag("trace", is_traced);
  const int count = count_options(argc, argv);
  if (auto status = options.parse(count, argv)) return *status;
  if (is_deep && is_traced) return options.usage_error("--deep or --trace, not both");
  // The deputy knows the supervisor by this word (deputy/reaching_shells.cc).
  if (is_traced && std::find(argv, argv + count, std::string_view("--trace")) == argv + count)
    return options.usage_error("--trace is to be written out");
  const auto words = command_line({argv + count, argv + argc});
  const auto names = diverted_names();
  if (!names) return options.failed(names.error().text());
  if (is_deep || is_traced) keep_deputy();
  if (is_deep)
    if (auto entered = enter_deep_shell(*names); !entered) return options.failed(entered.error().text());
  if (auto preloaded = preload_shim(); !preloaded) return options.failed(preloaded.error().text());
  if (!is_traced) return options.failed(become(words).text());
  const auto status = run_trace_shell(*names, words);
  return status ? *status : options.failed(status.error().text());
}

}  // namespace ssi
