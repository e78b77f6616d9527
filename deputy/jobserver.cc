// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/jobserver.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>

namespace ssi {
namespace {

constexpr std::array<std::string_view, 3> variables{"MAKEFLAGS=", "MFLAGS=", "CARGO_MAKEFLAGS="};
constexpr std::array<std::string_view, 2> options{"--jobserver-auth=",
                                                  "--jobserver-fds="};  // since 4.2; before

// Takes one word and the blanks before it. A blank behind a backslash is part of the word.
std::string_view take_word(std::string_view& rest) {
  auto at = std::min(rest.find_first_not_of(' '), rest.size());
  while (at < rest.size() && rest[at] != ' ') at += rest[at] == '\\' ? 2 : 1;
  const auto word = rest.substr(0, at);
  rest.remove_prefix(word.size());
  return word;
}

std::string_view trimmed(std::string_view word) {
  return word.substr(std::min(word.find_first_not_of(' '), word.size()));
}

// What follows the option; nullopt: it is another.
std::optional<std::string_view> jobserver_value(std::string_view word) {
  for (const auto option : options)
    if (word.starts_with(option)) return word.substr(option.size());
  return std::nullopt;
}

bool is_number_of_jobs(std::string_view word) {
  return word == "--jobs" || word.starts_with("--jobs=") ||
         (word.starts_with("-j") &&
          std::ranges::all_of(word.substr(2), [](char c) { return c >= '0' && c <= '9'; }));
}

// Of options, before "--" and the variables that stand behind it. "R,W", or "fifo:PATH".
std::optional<Jobserver> jobserver_in(std::string_view flags) {
  std::optional<Jobserver> found;  // the last one holds
  while (!flags.empty()) {
    const auto word = trimmed(take_word(flags));
    if (word == "--") break;
    const auto value = jobserver_value(word);
    if (!value) continue;
    Jobserver jobserver;
    const auto* end = value->data() + value->size();
    const auto read = std::from_chars(value->data(), end, jobserver.read);
    const bool pipe = read.ec == std::errc() && read.ptr != end && *read.ptr == ',' &&
                      std::from_chars(read.ptr + 1, end, jobserver.write).ptr == end;
    // make itself says -2,-2 to a command that is to have none.
    if (pipe && (jobserver.read < 0 || jobserver.write < 0)) continue;
    found = pipe ? jobserver : Jobserver{};
  }
  return found;
}

std::string without_options(std::string_view flags) {
  std::string kept;
  while (!flags.empty()) {
    const auto word = take_word(flags);
    const auto bare = trimmed(word);
    if (bare == "--") return kept.append(word).append(flags);
    if (!jobserver_value(bare) && !is_number_of_jobs(bare)) kept += word;
  }
  return kept;
}

// Calls `f` with each string, and how long the name and "=" of one that holds make's options are (0: another).
void each_variable(std::string_view environment,
                   const std::function<void(std::string_view, std::size_t)>& f) {
  while (!environment.empty()) {
    const auto variable = environment.substr(0, environment.find('\0'));
    environment.remove_prefix(std::min(variable.size() + 1, environment.size()));
    const auto name =
        std::ranges::find_if(variables, [&](auto candidate) { return variable.starts_with(candidate); });
    f(variable, name == variables.end() ? 0 : name->size());
  }
}

}  // namespace

std::optional<Jobserver> jobserver_of(std::string_view environment) {
  std::optional<Jobserver> found;
  each_variable(environment, [&](std::string_view variable, std::size_t name) {
    if (name && !found) found = jobserver_in(variable.substr(name));
  });
  return found;
}

std::string without_jobserver(std::string_view environment) {
  std::string kept;
  each_variable(environment, [&](std::string_view variable, std::size_t name) {
    if (name)
      kept.append(variable.substr(0, name)).append(without_options(variable.substr(name)));
    else
      kept.append(variable);
    kept += '\0';
  });
  return kept;
}

bool hands_out_jobs(std::string_view command) {
  constexpr std::array<std::string_view, 4> known{"make", "gmake", "ninja", "cargo"};
  return std::ranges::find(known, command) != known.end();
}

}  // namespace ssi
