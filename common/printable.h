// SPDX-License-Identifier: LGPL-2.1-or-later
// Text from elsewhere (names, reasons, commands), made harmless: one line that steers no terminal.
#pragma once

#include <string>
#include <string_view>

namespace ssi {

// Control characters, those that UTF-8 spells C2 80 to C2 9F included, and bytes that are no UTF-8 become '?'.
std::string printable(std::string_view text);

}  // namespace ssi
