// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/shell.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/allow.h"
#include "cli/become.h"
#include "cli/options.h"
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

}  // namespace

int shell_command(int argc, char** argv) {
  Options options(
      "ssi shell",
      "usage: ssi shell [COMMAND]\n"
      "A shell ($SHELL), or one COMMAND, whose heavy commands run in guests: those that the [[app]] tables\n"
      "of config.toml name. 'ssi allow check PROGRAM' tells which they are.\n"
      "  ssi shell\n"
      "  ssi shell 'make -j8 && make install'\n"
      "  ssi shell make -j8\n");
  const bool has_option = argc > 1 && argv[1][0] == '-';
  if (auto status = options.parse(has_option ? 2 : 1, argv)) return *status;
  const std::vector<std::string> words(argv + (has_option ? 2 : 1), argv + argc);
  if (auto compiled = compile_allow_list(); !compiled) return options.failed(compiled.error().text());
  if (auto preloaded = preload_shim(); !preloaded) return options.failed(preloaded.error().text());
  return options.failed(become(command_line(words)).text());
}

}  // namespace ssi
