// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/context.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>

namespace ssi {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> status_names{{
    {"Uid", "user ids"},
    {"Gid", "group ids"},
    {"Groups", "groups"},
    {"CapInh", "inheritable capabilities"},
    {"CapPrm", "permitted capabilities"},
    {"CapEff", "effective capabilities"},
    {"CapBnd", "capability bounds"},
    {"CapAmb", "ambient capabilities"},
    {"NoNewPrivs", "no_new_privs"},
    {"Seccomp", "seccomp mode"},
    {"Seccomp_filters", "seccomp filters"},
    {"TracerPid", "tracer"},
}};

std::string link_target(const std::string& path) {
  char target[256];
  const auto size = ::readlink(path.c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\n") - first + 1));
}

}  // namespace

std::map<std::string, std::string, std::less<>> status_facts(std::string_view status) {
  std::map<std::string, std::string, std::less<>> facts;
  while (!status.empty()) {
    const auto line = status.substr(0, status.find('\n'));
    status.remove_prefix(std::min(status.size(), line.size() + 1));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    for (const auto& [key, name] : status_names)
      if (line.substr(0, colon) == key) facts.emplace(name, trimmed(line.substr(colon + 1)));
  }
  return facts;
}

Result<Context> read_context(const std::string& proc) {
  std::ifstream file(proc + "/status");
  if (!file) return os_error("read " + proc + "/status", ENOENT);
  std::stringstream text;
  text << file.rdbuf();
  Context context{status_facts(text.str())};
  struct stat root;
  if (::stat((proc + "/root/").c_str(), &root) != 0) return os_error("stat " + proc + "/root");
  context.facts["root directory"] = std::to_string(root.st_dev) + ":" + std::to_string(root.st_ino);
  context.facts["mount namespace"] = link_target(proc + "/ns/mnt");
  context.facts["user namespace"] = link_target(proc + "/ns/user");
  return context;
}

std::string difference(const Context& deputy, const Context& caller) {
  if (const auto tracer = caller.facts.find("tracer"); tracer != caller.facts.end() && tracer->second != "0")
    return "the caller is being traced";
  for (const auto& [name, ours] : deputy.facts) {
    if (name == "tracer") continue;
    const auto theirs = caller.facts.find(name);
    if (theirs == caller.facts.end() || theirs->second != ours)
      return "the caller's " + name + " differ from the deputy's";
  }
  return {};
}

}  // namespace ssi
