// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/printable.h"

#include <cstddef>

namespace ssi {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t bytes = 1;
};

// The first one of `text`, which is not empty; code 0 for a byte that begins none (RFC 3629). Longer spellings than
// need be are none either: a terminal may take them for what they mean.
Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
  if (bytes == 1 || text.size() < bytes) return {};
  char32_t code = lead & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {};
    code = code << 6 | (next & 0x3f);
  }
  constexpr char32_t shortest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  if (code < shortest[bytes] || code > 0x10ffff || surrogate) return {};
  return {code, bytes};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    const auto [code, bytes] = first_character(text);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
      clean += '?';
    else
      clean += text.substr(0, bytes);
    text.remove_prefix(bytes);
  }
  return clean;
}

}  // namespace ssi
