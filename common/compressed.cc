// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/compressed.h"

#include <zstd.h>

namespace ssi {

std::optional<std::string> compress(std::string_view bytes) {
  std::string to(bytes.size() - bytes.size() / 10, '\0');  // more than that would not be worth it
  const auto size = ZSTD_compress(to.data(), to.size(), bytes.data(), bytes.size(), 1);
  if (ZSTD_isError(size)) return {};
  to.resize(size);
  return to;
}

std::optional<std::string> decompress(std::string_view compressed, std::size_t size) {
  std::string to(size, '\0');
  const auto got = ZSTD_decompress(to.data(), to.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(got) || got != size) return {};
  return to;
}

}  // namespace ssi
