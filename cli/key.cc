// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/key.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "cli/options.h"
#include "common/paths.h"

namespace ssi {

Result<std::string> deputy_key_file() {
  auto state = paths::state_dir();
  if (!state) return tl::make_unexpected(state.error());
  return *state + "/keys/deputy.key";
}

Result<Identity> deputy_identity() {
  auto file = deputy_key_file();
  if (!file) return tl::make_unexpected(file.error());
  return Identity::load_or_create(*file);
}

int key_command(int argc, char** argv) {
  static constexpr char help[] =
      "usage: ssi key show\n"
      "Prints the public key by which schedulers know this user's deputy. Makes the key when there is "
      "none.\n";
  Options options("ssi key", help);
  if (auto status = options.parse(argc, argv)) return *status;
  const auto& words = options.words();
  if (words.size() != 1 || words[0] != "show") return options.usage_error("which? 'show' is all there is");
  auto identity = deputy_identity();
  if (!identity) return options.failed(identity.error().text());
  fmt::print("{}\n", key_text(identity->public_key()));
  return 0;
}

}  // namespace ssi
