// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/input_size.h"

#include <sys/stat.h>

namespace ssi {

std::uint64_t input_size(const std::string& cwd, const std::vector<std::string>& argv) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 1; i < argv.size(); i++) {
    if (argv[i].empty()) continue;
    const auto path = argv[i][0] == '/' ? argv[i] : cwd + "/" + argv[i];
    struct stat file {};
    if (::stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode))
      bytes += static_cast<std::uint64_t>(file.st_size);
  }
  return bytes;
}

}  // namespace ssi
