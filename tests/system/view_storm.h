// SPDX-License-Identifier: LGPL-2.1-or-later
// The same sequence of random file system calls on any directory, and what they said: to compare two file
// systems.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ssi::test {

// `count` calls in `directory` (absolute, empty at first). One line for each: the call and its result, or its
// errno.
std::vector<std::string> storm(const std::string& directory, std::uint32_t seed, int count);

// Everything below a directory, sorted: name, type, mode, owner, links, size, content's hash, target. With
// `times`, mtimes too.
std::vector<std::string> tree(const std::string& directory, bool times = false);

}  // namespace ssi::test
