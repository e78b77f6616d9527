// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/config.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "common/allow_folder.h"
#include "common/identity.h"
#include "common/paths.h"
#include "common/rule_table.h"
#include "common/tcp.h"
#include "common/toml_table.h"

namespace ssi {
namespace {

using namespace toml_table;

Read reinject(bool& into) {
  return one_of<bool>(into, {{"auto", true}, {"never", false}});
}

// A list may also be one string, with commas.
Read lists(std::vector<std::string>& into) {
  return [&into](const toml::node& node) -> Status {
    std::vector<std::string> words;
    if (auto read = texts(words)(node); !read) return read;
    for (const auto& word : words)
      for (auto& part : split_list(word)) into.push_back(std::move(part));
    return {};
  };
}

Read public_keys(std::vector<std::string>& into) {
  return [&into](const toml::node& node) -> Status {
    std::vector<std::string> digits;
    (void)lists(digits)(node);
    for (const auto& text : digits.empty() ? std::vector<std::string>{""} : digits) {
      auto key = parse_key(text);
      if (!key) return failure("must be a public key (64 hexadecimal digits), or an array of them");
      into.push_back(*key);
    }
    return {};
  };
}

// Numeric, since it is for guests, which may know no names.
Read numeric_address(std::string& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::string>();
    if (!value || !check_reachable(*value))
      return failure("must be an address that guests can connect to, like \"192.0.2.1:7702\"");
    into = *value;
    return {};
  };
}

// The wildcard too.
Read listening_address(std::string& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::string>();
    if (value && value->starts_with("0.0.0.0:") && is_address(*value)) {
      into = *value;
      return {};
    }
    return numeric_address(into)(node);
  };
}

Read scheduler_addresses(std::vector<std::string>& into) {
  return [&into](const toml::node& node) -> Status {
    const bool read = lists(into)(node).has_value() && !into.empty();
    for (const auto& address : into)
      if (!is_address(address))
        return failure("must be \"HOST:PORT\" or an array of them, not \"" + address + "\"");
    if (!read) return failure("must be \"HOST:PORT\" or an array of them");
    return {};
  };
}

// No keys at all: they are not known.
Result<SchedulerList> pair_up(const std::vector<std::string>& addresses,
                              const std::vector<std::string>& keys) {
  if (keys.size() > 1 && keys.size() != addresses.size())
    return failure("'scheduler_key' must be one key, or one for each scheduler");
  SchedulerList list;
  for (const auto& address : addresses)
    list.push_back({address, keys.empty() ? "" : keys[keys.size() == 1 ? 0 : list.size()]});
  return list;
}

// Keys that are not known, from `other`.
void take_keys(SchedulerList& list, const SchedulerList& other) {
  for (auto& one : list)
    for (const auto& known : other)
      if (one.key.empty() && one.address == known.address) one.key = known.key;
}

// ------------------------------------------------------------------------------------------- the tables

// Lays the file's `table` over `config`, but for its rules.
Status overlay(const std::string& file, const toml::table& table, Config& config) {
  std::vector<std::string> addresses, keys;
  const Keys defaults{{"policy", read_policy(config.policy)},
                      {"fallback", read_fallback(config.fallback)},
                      {"min_seconds", number(config.min_seconds)},
                      {"grace", number(config.grace)},
                      {"undo", read_bytes(config.undo)},
                      {"shipped", flag(config.shipped)},
                      {"reinject", reinject(config.reinject)}};
  const Keys exports{{"hidden", texts(config.exports.hidden)},
                     {"read_only", texts(config.exports.read_only)}};
  const Keys home{{"listen", listening_address(config.home.listen)},
                  {"address", numeric_address(config.home.address)}};
  const Read later = [](const toml::node&) -> Status { return {}; };
  auto status = read_table(file, table,
                           {{"scheduler", scheduler_addresses(addresses)},
                            {"scheduler_key", public_keys(keys)},
                            {"defaults", table_of(file, defaults)},
                            {"export", table_of(file, exports)},
                            {"home", table_of(file, home)},
                            {"app", later}});
  if (!status) return status;
  const auto* key = table.get("scheduler_key");
  if (key && addresses.empty())
    return failure(at(file, key->source()) + "'scheduler_key' without 'scheduler'");
  auto schedulers = pair_up(addresses, keys);
  if (!schedulers) return failure(at(file, key->source()) + schedulers.error().text());
  if (config.home.listen.starts_with("0.0.0.0:") && config.home.address.empty())
    return failure(file + ": [home] listen = \"" + config.home.listen +
                   "\" wants 'address' too: the one that guests connect to");
  if (!schedulers->empty()) config.schedulers = std::move(*schedulers);
  return {};
}

// ------------------------------------------------------------------------------------------ the scheduler

Result<SchedulerList> read_pool(const std::string& path) {
  const auto table = parse_file(path);
  if (!table) return tl::make_unexpected(table.error());
  if (!*table) return SchedulerList();
  std::vector<std::string> addresses, keys;
  // Written by `ssi pool up`, perhaps of a newer version: other keys are its business.
  for (const auto& [name, read] :
       Keys{{"scheduler", scheduler_addresses(addresses)}, {"scheduler_key", public_keys(keys)}}) {
    const auto* node = (*table)->get(name);
    if (!node) return failure(path + ": lacks '" + name + "'");
    if (auto status = read(*node); !status)
      return failure(at(path, node->source()) + "'" + name + "' " + status.error().doing);
  }
  auto list = pair_up(addresses, keys);
  if (!list) return because(path, list.error());
  return list;
}

// A user's own pool comes before the machine's.
Result<SchedulerList> find_pool() {
  if (const auto state = paths::state_dir())
    if (auto own = read_pool(*state + "/pool/pool.toml"); !own || !own->empty()) return own;
  return read_pool(paths::pool_file);
}

Result<SchedulerAddress> parse_scheduler(const std::string& text) {
  const auto hash = text.find('#');
  SchedulerAddress address{text.substr(0, hash), {}};
  if (!is_address(address.address)) return failure("'" + text + "' is not HOST:PORT or HOST:PORT#KEY");
  if (hash == std::string::npos) return address;
  auto key = parse_key(std::string_view(text).substr(hash + 1));
  if (!key) return tl::make_unexpected(key.error());
  address.key = *key;
  return address;
}

// What it has parsed is kept: a deputy reads the configuration for each job.
AllowFolder& folder_at(const std::string& path) {
  static thread_local std::map<std::string, AllowFolder> folders;
  return folders.try_emplace(path, path).first->second;
}

}  // namespace

bool is_address(std::string_view address) {
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  unsigned port = 0;
  const auto* end = address.data() + address.size();
  const auto read = std::from_chars(address.data() + colon + 1, end, port);
  return read.ec == std::errc() && read.ptr == end && port >= 1 && port <= 65535;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    auto part = std::string_view(text).substr(at, end - at);
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    parts.emplace_back(part.substr(0, part.find_last_not_of(' ') + 1));
    at = end + 1;
  }
  return parts;
}

Result<SchedulerList> parse_schedulers(const std::string& text) {
  SchedulerList list;
  for (const auto& part : split_list(text)) {
    auto one = parse_scheduler(part);
    if (!one) return tl::make_unexpected(one.error());
    list.push_back(std::move(*one));
  }
  return list;
}

Result<Config> load_config(const std::string& system_file, const std::string& user_file,
                           const std::string& allow_folder) {
  const auto system = parse_file(system_file);
  if (!system) return tl::make_unexpected(system.error());
  const auto user = parse_file(user_file);
  if (!user) return tl::make_unexpected(user.error());
  Config config;
  Status status;
  if (*system) status = overlay(system_file, **system, config);
  if (status && *user) status = overlay(user_file, **user, config);
  // First match wins, so the user's rules stand before the system's.
  if (status && *user) status = read_rules(user_file, **user, config, config.apps);
  if (status && *system) status = read_rules(system_file, **system, config, config.apps);
  if (status && config.shipped) status = folder_at(allow_folder).append_rules(config, config.apps);
  if (!status) return tl::make_unexpected(status.error());
  return config;
}

Result<Config> load_config() {
  return load_config(paths::system_config, paths::user_config(), paths::allow_folder);
}

Result<SchedulerList> find_schedulers(const Config& config, const std::string& from_environment) {
  auto chosen = config.schedulers;
  if (!from_environment.empty()) {
    auto named = parse_schedulers(from_environment);
    if (!named) return because("SSI_SCHEDULER", named.error());
    take_keys(*named, chosen);
    chosen = std::move(*named);
  }
  const auto lacks_key = [](const SchedulerAddress& one) { return one.key.empty(); };
  if (!chosen.empty() && std::ranges::none_of(chosen, lacks_key)) return chosen;
  auto pool = find_pool();
  if (!pool || chosen.empty()) return pool;
  take_keys(chosen, *pool);
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
