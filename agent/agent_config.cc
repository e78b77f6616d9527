// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/agent_config.h"

#include "common/identity.h"
#include "common/toml_table.h"

namespace ssi {

Status load_agent_config(const std::string& file, AgentOptions& options) {
  using namespace toml_table;
  const auto table = parse_file(file);
  if (!table) return tl::make_unexpected(table.error());
  if (!*table) return os_error(file, ENOENT);
  std::string key;
  const Read read_key = [&](const toml::node& node) -> Status {
    if (auto read = text(key)(node); !read) return read;
    auto parsed = parse_key(key);
    if (!parsed) return failure("must be a public key (64 hexadecimal digits)");
    options.scheduler_key = *parsed;
    return {};
  };
  return read_table(file, **table,
                    {{"name", text(options.name)},
                     {"scheduler", text(options.scheduler)},
                     {"scheduler_key", read_key},
                     {"listen", text(options.listen)},
                     {"dial", one_of<bool>(options.dials_out, {{"in", false}, {"out", true}})},
                     {"key", text(options.key_file)},
                     {"token", text(options.token)}});
}

Status check_complete(const AgentOptions& options) {
  if (options.name.empty() || options.scheduler.empty() || options.scheduler_key.empty() ||
      options.key_file.empty())
    return failure(
        "name, scheduler, scheduler key and key file are all needed, by options or --config; try 'ssi-agent "
        "--help'");
  if (options.listen.empty() == !options.dials_out)
    return failure("one of --listen HOST:PORT and --dial-out is needed; try 'ssi-agent --help'");
  return {};
}

}  // namespace ssi
