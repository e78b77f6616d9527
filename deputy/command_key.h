// SPDX-License-Identifier: LGPL-2.1-or-later
// What makes two runs "the same command": the executable's identity and the shape of its arguments. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ssi {

// A program that was rebuilt or upgraded is another one.
struct Executable {
  std::uint64_t device = 0, inode = 0, size = 0;
  std::int64_t mtime_ns = 0;
};

// One word for each argument (argv[0] is none): options and plain words ("slow", "libx264") as they are, since they
// change the work; of all other values only the class: "N" a number, "*.mkv" a file by its extension, "PATH", "TEXT".
// Words, and pairs of words, that repeat stand once, with a "+" behind: "-i *.png + *.mkv".
std::string argument_shape(const std::vector<std::string>& argv);

// 16 hexadecimal digits.
std::string command_key(const Executable& executable, std::string_view shape);

}  // namespace ssi
