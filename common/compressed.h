// SPDX-License-Identifier: LGPL-2.1-or-later
// Content on a slow link, by zstd(1) at its fastest.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ssi {

// None: it does not get smaller by a tenth, or at all.
std::optional<std::string> compress(std::string_view bytes);

// Back to exactly `size` bytes. None: these are not they.
std::optional<std::string> decompress(std::string_view compressed, std::size_t size);

}  // namespace ssi
