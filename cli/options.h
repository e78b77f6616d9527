// SPDX-License-Identifier: LGPL-2.1-or-later
// The options of one subcommand: getopt_long over a table, with the messages and exit statuses that all of
// `ssi` shares.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ssi {

inline constexpr int exit_failure = 1;  // it was tried
inline constexpr int exit_usage = 2;    // it was not even tried

class Options {
 public:
  // `help` is all that --help prints.
  Options(std::string command, std::string help);

  void flag(const char* name, bool& is_given);
  // `take` returns false for a value that makes no sense. `letter`: its short form, or 0.
  void value(const char* name, std::function<bool(const std::string&)> take, char letter = 0);

  // An exit status when the command is over already: --help, or something wrong that has been said on stderr.
  std::optional<int> parse(int argc, char** argv);
  const std::vector<std::string>& words() const { return words_; }  // what is not an option

  // Say it on stderr, and return the exit status.
  int usage_error(const std::string& what) const;
  int failed(const std::string& what) const;

 private:
  struct Known {
    const char* name;
    bool has_value;
    std::function<bool(const std::string&)> take;
    char letter;
  };
  std::optional<int> accept(int index, const char* value);
  std::string command_, help_;
  std::vector<Known> known_;
  std::vector<std::string> words_;
};

}  // namespace ssi
