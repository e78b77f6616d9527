// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/preload.h"

#include <unistd.h>

#include <cstdlib>

#include "common/paths.h"

namespace ssi {

Status preload_shim() {
  // By $LIB each kind of process loads what it can (shim/meson.build). It costs each program 35 us, in which its loader asks where
  // it is itself; so only where there are 32-bit programs.
  const bool has_narrow = ::access("/lib/ld-linux.so.2", F_OK) == 0;
  auto shim =
      paths::sibling(has_narrow ? "libasan.so.d/$LIB/libssi-shim.so" : "libasan.so.d/lib/libssi-shim.so");
  if (!shim) shim = paths::sibling("libssi-shim.so");
  if (!shim) return tl::make_unexpected(shim.error());
  if (shim->find_first_of(": ") != std::string::npos)
    return failure(*shim + ": LD_PRELOAD cannot hold a path with a blank or a colon");
  const char* others = ::getenv("LD_PRELOAD");
  std::string preload = *shim;
  if (others && *others) preload += std::string(":") + others;
  return ::setenv("LD_PRELOAD", preload.c_str(), 1) == 0 ? Status{} : os_error("setenv LD_PRELOAD");
}

std::vector<std::string> by_shell(const std::vector<std::string>& words) {
  std::vector<std::string> line{"/bin/sh", "-c", "exec \"$@\"", "sh"};
  line.insert(line.end(), words.begin(), words.end());
  return line;
}

}  // namespace ssi
