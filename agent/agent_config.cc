// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/agent_config.h"

#include "common/config.h"
#include "common/identity.h"
#include "common/printable.h"
#include "common/toml_table.h"

namespace ssi {

Result<std::vector<std::string>> parse_keys(const std::string& text) {
  std::vector<std::string> keys;
  for (const auto& digits : split_list(text)) {
    auto key = parse_key(digits);
    if (!key) return tl::make_unexpected(key.error());
    keys.push_back(std::move(*key));
  }
  return keys;
}

Status load_agent_config(const std::string& file, AgentOptions& options) {
  using namespace toml_table;
  const auto table = parse_file(file);
  if (!table) return tl::make_unexpected(table.error());
  if (!*table) return os_error(file, ENOENT);
  const Read schedulers = [&](const toml::node& node) -> Status {
    std::vector<std::string> words;
    if (auto read = texts(words)(node); !read) return read;
    options.schedulers.clear();
    for (const auto& word : words)
      for (auto& one : split_list(word)) options.schedulers.push_back(std::move(one));
    return {};
  };
  const Read keys = [&](const toml::node& node) -> Status {
    std::vector<std::string> words;
    if (auto read = texts(words)(node); !read) return read;
    options.scheduler_keys.clear();
    for (const auto& word : words) {
      auto parsed = parse_keys(word);
      if (!parsed) return failure("must be a public key (64 hexadecimal digits), or an array of them");
      for (auto& key : *parsed) options.scheduler_keys.push_back(std::move(key));
    }
    return {};
  };
  return read_table(file, **table,
                    {{"name", text(options.name)},
                     {"scheduler", schedulers},
                     {"scheduler_key", keys},
                     {"listen", text(options.listen)},
                     {"dial", one_of<bool>(options.dials_out, {{"in", false}, {"out", true}})},
                     {"key", text(options.key_file)},
                     {"token", text(options.token)},
                     {"cache", text(options.cache)},
                     {"cache_mib", number(options.cache_mib)},
                     {"drain_seconds", number(options.drain_seconds)}});
}

Status check_complete(const AgentOptions& options) {
  if (options.name.empty() || options.schedulers.empty() || options.scheduler_keys.empty() ||
      options.key_file.empty())
    return failure(
        "name, scheduler, scheduler key and key file are all needed, by options or --config; try 'ssi-agent "
        "--help'");
  for (const auto& address : options.schedulers)
    if (!is_address(address)) return failure("the scheduler must be HOST:PORT, not '" + printable(address) + "'");
  if (options.scheduler_keys.size() > 1 && options.scheduler_keys.size() != options.schedulers.size())
    return failure("the scheduler keys must be one for all schedulers, or one for each");
  if (options.listen.empty() == !options.dials_out)
    return failure("one of --listen HOST:PORT and --dial-out is needed; try 'ssi-agent --help'");
  return {};
}

}  // namespace ssi
