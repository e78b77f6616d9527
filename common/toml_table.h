// SPDX-License-Identifier: LGPL-2.1-or-later
// Reading a TOML file's tables key by key: an unknown key or a wrong value is one line, "FILE:LINE: what is wrong". The only
// file that names toml++.
#pragma once

#include <toml++/toml.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace ssi::toml_table {

// Takes a value; the error is what it must be: "must be a string".
using Read = std::function<Status(const toml::node&)>;

// What a table may hold, and where its values go.
struct Key {
  const char* name;
  Read read;
};
using Keys = std::vector<Key>;

std::string at(const std::string& file, const toml::source_region& source);  // "FILE:LINE: "

Status read_table(const std::string& file, const toml::table& table, const Keys& keys);

// Readers of one value each, into what must outlive them.
Read text(std::string& into);
Read texts(std::vector<std::string>& into);  // appends; a single string is a list of one
Read number(double& into);                   // finite and not negative
Read flag(bool& into);
Read table_of(const std::string& file, Keys keys);

template <class Enum>
Read one_of(Enum& into, std::vector<std::pair<const char*, Enum>> names) {
  return [&into, names = std::move(names)](const toml::node& node) -> Status {
    std::string known;
    const auto value = node.value_exact<std::string>();
    for (const auto& [name, meaning] : names) {
      if (value && *value == name) {
        into = meaning;
        return {};
      }
      known += (known.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    return failure("must be one of " + known);
  };
}

// `name` stands for the file in what is said of it.
Result<toml::table> parse_text(const std::string& name, std::string_view text);

// Nothing when there is no such file. One that is not trusted (common/whole_file.h) is an error.
Result<std::optional<toml::table>> parse_file(const std::string& path);

}  // namespace ssi::toml_table
