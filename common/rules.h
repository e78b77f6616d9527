// SPDX-License-Identifier: LGPL-2.1-or-later
// Which [[app]] of the configuration a command falls under, and why not under those before it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"

namespace ssi {

// What rules look at.
struct Command {
  std::string path;                              // of the program
  std::vector<std::string> argv;                 // argv[0] is no argument
  std::string cwd = {};                          //
  std::vector<std::string> environment = {};     // NAME=VALUE
  std::function<std::uint64_t()> input_bytes{};  // see common/input_size.h; asked only for a min_input_mb
};

struct Ruling {
  const Rule* rule = nullptr;  // that matches, of the configuration; nullptr: none
  std::string pattern;         // of its `match`, that fits
  struct Miss {
    const Rule* rule;
    std::string pattern, why;  // "argument '-version' is in not_args"
  };
  std::vector<Miss> missed;  // rules before it that name the program, but do not match
};

// The first rule that matches wins. A rule matches when one of its `match` does (without '/': the basename, else the
// whole path, or with "**/" before it the end of one; all may be globs), and all of what it says about arguments, environment, folder and input is so:
// no argument fits `not_args`, one fits `when_args`, every `when_env` is set to what fits, no `not_env` is set, the
// folder lies in one of `cwd_under`, the arguments that are files have `min_input_mb` together.
Ruling judge(const Config& config, const Command& command);

// Why a command of this rule stays home, one line; empty: it does not.
std::string reason_for_home(const Rule& rule);

// "FILE: rule N".
std::string place_of(const Rule& rule);

// It matches whenever its `match` does.
bool is_unconditional(const Rule& rule);

// The strings NAME=VALUE, each ended by NUL, without those whose name fits one of `patterns`.
std::string without_variables(const std::string& environment, const std::vector<std::string>& patterns);

inline constexpr std::string_view any_folder = "**/";  // begins a pattern
bool is_glob(const std::string& pattern);

}  // namespace ssi
