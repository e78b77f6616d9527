// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/rule_table.h"

#include <optional>

namespace ssi {

using namespace toml_table;

namespace {

Read processors(std::uint32_t& into) {
  return [&into](const toml::node& node) -> Status {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 1 || *value > 4096) return failure("must be a whole number from 1 to 4096");
    into = static_cast<std::uint32_t>(*value);
    return {};
  };
}

Read patterns_by_name(std::vector<std::pair<std::string, std::string>>& into) {
  return [&into](const toml::node& node) -> Status {
    const auto wrong = [] { return failure("must be a table of strings like { SSI_CLASS = \"batch*\" }"); };
    const auto* table = node.as_table();
    if (!table) return wrong();
    for (const auto& [name, value] : *table) {
      const auto pattern = value.value_exact<std::string>();
      if (!pattern) return wrong();
      into.emplace_back(name.str(), *pattern);
    }
    return {};
  };
}

// The keys that no code acts on yet are checked all the same, so that a rule written for a later version is
// not called wrong, nor a wrong one right.
Status read_app(const std::string& file, const toml::table& table, Rule& rule) {
  std::vector<std::string> list;
  std::string word;
  bool yes = false;
  const Read resources = [&](const toml::node& node) -> Status {
    const auto* inner = node.as_table();
    if (!inner) return failure("must be a table like { cpus = 8, mem = \"4G\" }");
    return read_table(file, *inner, {{"cpus", processors(rule.cpus)}, {"mem", read_bytes(rule.memory)}});
  };
  auto status = read_table(file, table,
                           {{"match", texts(rule.match)},
                            {"not_args", texts(rule.not_args)},
                            {"when_args", texts(rule.when_args)},
                            {"when_env", patterns_by_name(rule.when_env)},
                            {"not_env", texts(rule.not_env)},
                            {"cwd_under", texts(rule.cwd_under)},
                            {"min_input_mb", number(rule.min_input_mb)},
                            {"min_seconds", number(rule.min_seconds)},
                            {"grace", number(rule.grace)},
                            {"undo", read_bytes(rule.undo)},
                            {"policy", read_policy(rule.policy)},
                            {"fallback", read_fallback(rule.fallback)},
                            {"resources", resources},
                            {"env_drop", texts(rule.env_drop)},
                            {"files", texts(list)},
                            {"net", text(word)},
                            {"gui", flag(rule.gui)},
                            {"pipes", flag(rule.pipes)},
                            {"detach", flag(yes)}});
  if (!status) return status;
  if (rule.match.empty()) return failure(at(file, table.source()) + "[[app]] needs 'match'");
  return {};
}

}  // namespace

Read read_policy(Policy& into) {
  return one_of<Policy>(into,
                        {{"auto", Policy::automatic}, {"local", Policy::local}, {"remote", Policy::remote}});
}

Read read_fallback(Fallback& into) {
  return one_of<Fallback>(into,
                          {{"local", Fallback::local}, {"fail", Fallback::fail}, {"wait", Fallback::wait}});
}

Read read_bytes(std::uint64_t& into) {
  return [&into](const toml::node& node) -> Status {
    auto size = node.is_string()    ? parse_size(*node.value_exact<std::string>())
                : node.is_integer() ? parse_size(std::to_string(*node.value_exact<std::int64_t>()))
                                    : failure("");
    if (!size) return failure("must be a size like \"4G\", \"512M\" or 1048576");
    into = *size;
    return {};
  };
}

Status read_rules(const std::string& file, const toml::table& table, const Config& defaults,
                  std::vector<Rule>& into) {
  const auto* node = table.get("app");
  if (!node) return {};
  const auto* array = node->as_array();
  if (!array || !array->is_array_of_tables())
    return failure(at(file, node->source()) + "'app' must be written as [[app]]");
  std::size_t number = 0;
  for (const auto& element : *array) {
    Rule rule;
    rule.file = file;
    rule.number = ++number;
    rule.policy = defaults.policy;
    rule.fallback = defaults.fallback;
    rule.min_seconds = defaults.min_seconds;
    rule.grace = defaults.grace;
    rule.undo = defaults.undo;
    if (auto status = read_app(file, *element.as_table(), rule); !status) return status;
    into.push_back(std::move(rule));
  }
  return {};
}

}  // namespace ssi
