// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/options.h"

#include <fmt/format.h>
#include <getopt.h>

#include <cstdio>
#include <utility>

namespace ssi {

Options::Options(std::string command, std::string help)
    : command_(std::move(command)), help_(std::move(help)) {}

void Options::flag(const char* name, bool& is_given) {
  known_.push_back({name, false, [&is_given](const std::string&) { return is_given = true; }, 0});
}

void Options::value(const char* name, std::function<bool(const std::string&)> take, char letter) {
  known_.push_back({name, true, std::move(take), letter});
}

std::optional<int> Options::accept(int index, const char* value) {
  const Known& known = known_[static_cast<std::size_t>(index)];
  if (known.take(value ? value : "")) return {};
  return usage_error(fmt::format("--{} {}: that makes no sense", known.name, value ? value : ""));
}

std::optional<int> Options::parse(int argc, char** argv) {
  std::vector<option> table;
  std::string letters = ":h";
  for (const auto& known : known_)
    if (known.letter) letters += {known.letter, ':'};
  for (std::size_t i = 0; i < known_.size(); i++)
    table.push_back({known_[i].name, known_[i].has_value ? required_argument : no_argument, nullptr,
                     static_cast<int>(1000 + i)});
  table.push_back({"help", no_argument, nullptr, 'h'});
  table.push_back({nullptr, 0, nullptr, 0});
  opterr = 0;
  optind = 0;  // main has used getopt before: glibc starts anew
  for (int c; (c = getopt_long(argc, argv, letters.c_str(), table.data(), nullptr)) != -1;) {
    // glibc leaves optind behind a long option at fault, but on a group of short ones; then optopt tells
    // which.
    std::string word = c == '?' && optopt > 0 && optopt < 128 ? fmt::format("-{}", static_cast<char>(optopt))
                                                              : argv[optind - 1];
    if (c == 'h') {
      fmt::print("{}", help_);
      return 0;
    }
    if (c == '?') return usage_error(fmt::format("unknown option '{}'", word));
    if (c == ':') return usage_error(fmt::format("option '{}' wants a value", word));
    int index = c - 1000;
    for (std::size_t i = 0; i < known_.size(); i++)
      if (known_[i].letter == c) index = static_cast<int>(i);
    if (auto status = accept(index, optarg)) return status;
  }
  words_.assign(argv + optind, argv + argc);
  return {};
}

int Options::usage_error(const std::string& what) const {
  fmt::print(stderr, "{}: {}; try '{} --help'\n", command_, what, command_);
  return exit_usage;
}

int Options::failed(const std::string& what) const {
  fmt::print(stderr, "{}: {}\n", command_, what);
  return exit_failure;
}

}  // namespace ssi
