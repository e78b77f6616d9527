// SPDX-License-Identifier: LGPL-2.1-or-later
// The text of a .desktop entry. Source: freedesktop.org's Desktop Entry Specification 1.5.
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

// Its copy, in which each command, its actions' too, has `prefix` before it ("/usr/bin/ssi desktop run"). Not by D-Bus, which would start the
// program by a service's file instead. Hidden when the program is not there any more, as the original would have gone with it.
// `origin` is noted in it. An error: it starts no program.
Result<std::string> diverted_entry(std::string_view text, std::string_view prefix, std::string_view origin);

// Whether diverted_entry() has made it.
bool is_diverted_entry(std::string_view text);

}  // namespace ssi
