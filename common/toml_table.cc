// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/toml_table.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cmath>

#include "common/fd.h"
#include "common/whole_file.h"

namespace ssi::toml_table {
namespace {

constexpr std::size_t max_file = 1 << 20;

// Its content; nothing when there is no such file.
Result<std::optional<std::string>> read_trusted(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) return os_error("open " + path);
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return os_error("stat " + path);
  if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) return std::string();  // /dev/null: "no config"
  if (!S_ISREG(st.st_mode)) return failure(path + ": is not a regular file");
  if (auto status = check_trusted(path, st); !status) return tl::make_unexpected(status.error());
  std::string content;
  std::array<char, 16 << 10> part{};
  ssize_t size = 0;
  while ((size = ::read(file.get(), part.data(), part.size())) > 0) {
    content.append(part.data(), static_cast<std::size_t>(size));
    if (content.size() > max_file) return failure(path + ": is larger than 1 MiB");
  }
  if (size < 0) return os_error("read " + path);
  return content;
}

}  // namespace

std::string at(const std::string& file, const toml::source_region& source) {
  return file + ":" + std::to_string(source.begin.line) + ": ";
}

Status read_table(const std::string& file, const toml::table& table, const Keys& keys) {
  for (const auto& [name, value] : table) {
    const Key* found = nullptr;
    std::string known;
    for (const auto& key : keys) {
      if (name.str() == key.name) found = &key;
      known += (known.empty() ? "" : ", ") + std::string(key.name);
    }
    if (!found)
      return failure(at(file, name.source()) + "unknown key '" + std::string(name.str()) +
                     "' (known: " + known + ")");
    if (auto status = found->read(value); !status) {
      // A table's own error already says where.
      if (status.error().doing.starts_with(file + ":")) return status;
      return failure(at(file, name.source()) + "'" + std::string(name.str()) + "' " + status.error().doing);
    }
  }
  return {};
}

Read text(std::string& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::string>();
    if (!value) return failure("must be a string");
    into = *value;
    return {};
  };
}

// Appends: a single string is a list of one.
Read texts(std::vector<std::string>& into) {
  return [&into](const toml::node& node) -> Status {
    if (const auto value = node.value_exact<std::string>()) {
      into.push_back(*value);
      return {};
    }
    const auto* array = node.as_array();
    if (!array) return failure("must be a string or an array of strings");
    for (const auto& element : *array) {
      const auto value = element.value_exact<std::string>();
      if (!value) return failure("must be a string or an array of strings");
      into.push_back(*value);
    }
    return {};
  };
}

Read number(double& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || !std::isfinite(*value) || *value < 0)
      return failure("must be a number that is not negative");
    into = *value;
    return {};
  };
}

Read flag(bool& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<bool>();
    if (!value) return failure("must be true or false");
    into = *value;
    return {};
  };
}

Read table_of(const std::string& file, Keys keys) {
  return [file, keys = std::move(keys)](const toml::node& node) -> Status {
    const auto* table = node.as_table();
    if (!table) return failure("must be a table");
    return read_table(file, *table, keys);
  };
}

Result<toml::table> parse_text(const std::string& name, std::string_view text) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return failure(at(name, error.source()) + std::string(error.description()));
  }
}

Result<std::optional<toml::table>> parse_file(const std::string& path) {
  const auto content = read_trusted(path);
  if (!content) return tl::make_unexpected(content.error());
  if (!*content) return std::nullopt;
  auto table = parse_text(path, **content);
  if (!table) return tl::make_unexpected(table.error());
  return std::move(*table);
}

}  // namespace ssi::toml_table
