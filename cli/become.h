// SPDX-License-Identifier: LGPL-2.1-or-later
// A command that ends in another program.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

// Replaces this process by words[0], an absolute path. Returns only with an error: why that cannot be.
inline Error become(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::fflush(stdout);
  ::execv(argv[0], argv.data());
  return os_error(words[0]).value();
}

}  // namespace ssi
