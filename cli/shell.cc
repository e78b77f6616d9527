// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/shell.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/become.h"
#include "cli/deep_shell.h"
#include "cli/deputy_keeper.h"
#include "cli/diverted.h"
#include "cli/options.h"
#include "cli/trace_shell.h"
#include "common/paths.h"

namespace ssi {
namespace {

Status preload_shim() {
  // By $LIB each kind of process loads what it can (shim/meson.build). It costs each program 35 us, in which its loader asks where
  // it is itself; so only where there are 32-bit programs.
  const bool has_narrow = ::access("/lib/ld-linux.so.2", F_OK) == 0;
  auto shim = paths::sibling(has_narrow ? "libasan.so.d/$LIB/libssi-shim.so" : "libasan.so.d/lib/libssi-shim.so");
  if (!shim) shim = paths::sibling("libssi-shim.so");
  if (!shim) return tl::make_unexpected(shim.error());
  if (shim->find_first_of(": ") != std::string::npos)
    return failure(*shim + ": LD_PRELOAD cannot hold a path with a blank or a colon");
  const char* others = ::getenv("LD_PRELOAD");
  std::string preload = *shim;
  if (others && *others) preload += std::string(":") + others;
  return ::setenv("LD_PRELOAD", preload.c_str(), 1) == 0 ? Status{} : os_error("setenv LD_PRELOAD");
}

// A single word is a line for sh, more are a command and its arguments. Through sh either way, as only what a
// preloaded process starts is diverted.
std::vector<std::string> command_line(const std::vector<std::string>& words) {
  if (words.empty()) {
    const char* shell = ::getenv("SHELL");
    return {shell && *shell ? shell : "/bin/sh"};
  }
  std::vector<std::string> line{"/bin/sh", "-c"};
  if (words.size() == 1) {
    line.push_back(words[0]);
    return line;
  }
  line.insert(line.end(), {"exec \"$@\"", "sh"});
  line.insert(line.end(), words.begin(), words.end());
  return line;
}

// What comes behind ssi's own options is the command's, options too.
int count_options(int argc, char** argv) {
  int count = 1;
  while (count < argc && argv[count][0] == '-')
    if (std::string_view(argv[count++]) == "--") break;
  return count;
}

constexpr char help[] =
    "usage: ssi shell [--deep | --trace] [COMMAND]\n"
    "A shell ($SHELL), or one COMMAND, whose heavy commands run in guests: those that the [[app]] tables\n"
    "of config.toml name. 'ssi allow check PROGRAM' tells which they are.\n"
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
    "           the shell runs at home, and after a (64-bit) program has used Landlock all does. x86-64 only.\n"
    "For commands that are looked up on PATH 'ssi shims' does without a shell of its own.\n";

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
