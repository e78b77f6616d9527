// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <toml++/toml.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>

#include "common/fd.h"
#include "common/identity.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr std::size_t max_file = 1 << 20;

// What a table may hold, and where its values go.
struct Key {
  const char* name;
  std::function<Status(const toml::node&)> read;  // the error is what the value must be: "must be a string"
};
using Keys = std::vector<Key>;

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

// ------------------------------------------------------------------------------- readers of one value each

using Read = std::function<Status(const toml::node&)>;

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

Read policy(Policy& into) {
  return one_of<Policy>(into,
                        {{"auto", Policy::automatic}, {"local", Policy::local}, {"remote", Policy::remote}});
}

Read fallback(Fallback& into) {
  return one_of<Fallback>(into,
                          {{"local", Fallback::local}, {"fail", Fallback::fail}, {"wait", Fallback::wait}});
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

Read processors(std::uint32_t& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 1 || *value > 4096) return failure("must be a whole number from 1 to 4096");
    into = static_cast<std::uint32_t>(*value);
    return {};
  };
}

Read bytes(std::uint64_t& into) {
  return [&into](const toml::node& node) -> Status {
    auto size = node.is_string()    ? parse_size(*node.value_exact<std::string>())
                : node.is_integer() ? parse_size(std::to_string(*node.value_exact<std::int64_t>()))
                                    : failure("");
    if (!size) return failure("must be a size like \"4G\", \"512M\" or 1048576");
    into = *size;
    return {};
  };
}

Read flag() {
  return [](const toml::node& node) -> Status {
    if (!node.is_boolean()) return failure("must be true or false");
    return {};
  };
}

Read public_key(std::string& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::string>();
    auto key = parse_key(value ? *value : "");
    if (!key) return failure("must be a public key (64 hexadecimal digits)");
    into = *key;
    return {};
  };
}

bool is_address(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  unsigned port = 0;
  const auto* end = address.data() + address.size();
  const auto read = std::from_chars(address.data() + colon + 1, end, port);
  return read.ec == std::errc() && read.ptr == end && port >= 1 && port <= 65535;
}

// One scheduler, or several of which the first is used (a spare one is not tried yet).
Read scheduler(std::string& into) {
  return [&into](const toml::node& node) -> Status {
    std::vector<std::string> addresses;
    const bool read = texts(addresses)(node).has_value() && !addresses.empty();
    for (const auto& address : addresses)
      if (!is_address(address))
        return failure("must be \"HOST:PORT\" or an array of them, not \"" + address + "\"");
    if (!read) return failure("must be \"HOST:PORT\" or an array of them");
    into = addresses.front();
    return {};
  };
}

// ------------------------------------------------------------------------------------------- the tables

// The keys that no code acts on yet are checked all the same, so that a rule written for a later version is
// not called wrong, nor a wrong one right.
Status read_app(const std::string& file, const toml::table& table, Rule& rule) {
  std::vector<std::string> list;
  double seconds = 0;
  std::string word;
  const Read resources = [&](const toml::node& node) -> Status {
    const auto* inner = node.as_table();
    if (!inner) return failure("must be a table like { cpus = 8, mem = \"4G\" }");
    return read_table(file, *inner, {{"cpus", processors(rule.cpus)}, {"mem", bytes(rule.memory)}});
  };
  const Read when_env = [](const toml::node& node) -> Status {
    const auto* inner = node.as_table();
    if (inner)
      for (const auto& [name, value] : *inner)
        if (!value.is_string()) inner = nullptr;
    if (!inner) return failure("must be a table of strings like { SSI_CLASS = \"batch*\" }");
    return {};
  };
  auto status = read_table(file, table,
                           {{"match", texts(rule.match)},
                            {"not_args", texts(rule.not_args)},
                            {"when_args", texts(rule.when_args)},
                            {"when_env", when_env},
                            {"not_env", texts(list)},
                            {"cwd_under", texts(list)},
                            {"min_input_mb", number(seconds)},
                            {"min_seconds", number(seconds)},
                            {"policy", policy(rule.policy)},
                            {"fallback", fallback(rule.fallback)},
                            {"resources", resources},
                            {"env_drop", texts(list)},
                            {"files", texts(list)},
                            {"net", text(word)},
                            {"gui", flag()},
                            {"detach", flag()}});
  if (!status) return status;
  if (rule.match.empty()) return failure(at(file, table.source()) + "[[app]] needs 'match'");
  return {};
}

Read table_of(const std::string& file, Keys keys) {
  return [&file, keys = std::move(keys)](const toml::node& node) -> Status {
    const auto* table = node.as_table();
    if (!table) return failure("must be a table");
    return read_table(file, *table, keys);
  };
}

// Lays the file's `table` over `config`, but for its rules.
Status overlay(const std::string& file, const toml::table& table, Config& config) {
  SchedulerAddress address;
  const Keys defaults{{"policy", policy(config.policy)},
                      {"fallback", fallback(config.fallback)},
                      {"min_seconds", number(config.min_seconds)}};
  const Keys exports{{"hidden", texts(config.exports.hidden)},
                     {"read_only", texts(config.exports.read_only)}};
  const Read later = [](const toml::node&) -> Status { return {}; };
  auto status = read_table(file, table,
                           {{"scheduler", scheduler(address.address)},
                            {"scheduler_key", public_key(address.key)},
                            {"defaults", table_of(file, defaults)},
                            {"export", table_of(file, exports)},
                            {"app", later}});
  if (!status) return status;
  if (const auto* key = table.get("scheduler_key"); key && address.address.empty())
    return failure(at(file, key->source()) + "'scheduler_key' without 'scheduler'");
  if (!address.address.empty()) config.scheduler = address;
  return {};
}

// The file's rules; what one doesn't say is as in [defaults] of all files, so those are read first.
Status read_apps(const std::string& file, const toml::table& table, const Config& config,
                 std::vector<Rule>& into) {
  const auto* node = table.get("app");
  if (!node) return {};
  const auto* array = node->as_array();
  if (!array || !array->is_array_of_tables())
    return failure(at(file, node->source()) + "'app' must be written as [[app]]");
  for (const auto& element : *array) {
    Rule rule;
    rule.policy = config.policy;
    rule.fallback = config.fallback;
    if (auto status = read_app(file, *element.as_table(), rule); !status) return status;
    into.push_back(std::move(rule));
  }
  return {};
}

// --------------------------------------------------------------------------------------------- the files

// Its content; nothing when there is no such file.
Result<std::optional<std::string>> read_trusted(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!file) return os_error("open " + path);
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return os_error("stat " + path);
  if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) return std::string();  // /dev/null: "no config"
  if (!S_ISREG(st.st_mode)) return failure(path + ": is not a regular file");
  if (st.st_uid != ::geteuid() && st.st_uid != 0)
    return failure(path + ": belongs to another user (uid " + std::to_string(st.st_uid) + ")");
  if (st.st_mode & 022) return failure(path + ": others may write to it: chmod go-w " + path);
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

Result<std::optional<toml::table>> parse_file(const std::string& path) {
  const auto content = read_trusted(path);
  if (!content) return tl::make_unexpected(content.error());
  if (!*content) return std::nullopt;
  try {
    return toml::parse(**content, path);
  } catch (const toml::parse_error& error) {
    return failure(at(path, error.source()) + std::string(error.description()));
  }
}

Result<std::optional<SchedulerAddress>> read_pool(const std::string& path) {
  const auto table = parse_file(path);
  if (!table) return tl::make_unexpected(table.error());
  if (!*table) return std::nullopt;
  SchedulerAddress found;
  // Written by `ssi pool up`, perhaps of a newer version: other keys are its business.
  for (const auto& [name, read] :
       Keys{{"scheduler", scheduler(found.address)}, {"scheduler_key", public_key(found.key)}}) {
    const auto* node = (*table)->get(name);
    if (!node) return failure(path + ": lacks '" + name + "'");
    if (auto status = read(*node); !status)
      return failure(at(path, node->source()) + "'" + name + "' " + status.error().doing);
  }
  return found;
}

// A user's own pool comes before the machine's.
Result<std::optional<SchedulerAddress>> find_pool() {
  if (const auto state = paths::state_dir())
    if (auto own = read_pool(*state + "/pool/pool.toml"); !own || *own) return own;
  return read_pool(paths::pool_file);
}

Result<SchedulerAddress> parse_scheduler(const std::string& text) {
  const auto hash = text.find('#');
  SchedulerAddress address{text.substr(0, hash), {}};
  if (!is_address(address.address))
    return failure("SSI_SCHEDULER: '" + text + "' is not HOST:PORT or HOST:PORT#KEY");
  if (hash == std::string::npos) return address;
  auto key = parse_key(std::string_view(text).substr(hash + 1));
  if (!key) return because("SSI_SCHEDULER", key.error());
  address.key = *key;
  return address;
}

}  // namespace

Result<Config> load_config(const std::string& system_file, const std::string& user_file) {
  const auto system = parse_file(system_file);
  if (!system) return tl::make_unexpected(system.error());
  const auto user = parse_file(user_file);
  if (!user) return tl::make_unexpected(user.error());
  Config config;
  Status status;
  if (*system) status = overlay(system_file, **system, config);
  if (status && *user) status = overlay(user_file, **user, config);
  // First match wins, so the user's rules stand before the system's.
  if (status && *user) status = read_apps(user_file, **user, config, config.apps);
  if (status && *system) status = read_apps(system_file, **system, config, config.apps);
  if (!status) return tl::make_unexpected(status.error());
  return config;
}

Result<Config> load_config() {
  return load_config(paths::system_config, paths::user_config());
}

Result<std::optional<SchedulerAddress>> find_scheduler(const Config& config,
                                                       const std::string& from_environment) {
  auto chosen = config.scheduler;
  if (!from_environment.empty()) {
    auto named = parse_scheduler(from_environment);
    if (!named) return tl::make_unexpected(named.error());
    if (named->key.empty() && chosen && chosen->address == named->address) named->key = chosen->key;
    chosen = *named;
  }
  if (chosen && !chosen->key.empty()) return chosen;
  const auto pool = find_pool();
  if (!pool) return tl::make_unexpected(pool.error());
  if (!chosen) return *pool;
  if (*pool && (*pool)->address == chosen->address) chosen->key = (*pool)->key;
  return chosen;
}

Result<std::uint64_t> parse_size(const std::string& text) {
  std::uint64_t size = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, size);
  const auto bad = [&] { return failure("'" + text + "' is not a size like 4G, 512M or 1048576"); };
  if (read.ec != std::errc()) return bad();
  if (read.ptr == end) return size;
  const auto unit =
      std::string_view("KMGT").find(static_cast<char>(std::toupper(static_cast<unsigned char>(*read.ptr))));
  const std::string_view suffix(read.ptr + 1, static_cast<std::size_t>(end - read.ptr - 1));
  if (unit == std::string_view::npos || (!suffix.empty() && suffix != "iB" && suffix != "B")) return bad();
  const auto shift = 10 * (unit + 1);
  if (size > (~std::uint64_t{0} >> shift)) return bad();
  return size << shift;
}

}  // namespace ssi
