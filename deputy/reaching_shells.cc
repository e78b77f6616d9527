// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/reaching_shells.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include "common/deep_mount.h"
#include "common/paths.h"

namespace ssi {
namespace {

struct Mount {
  std::string place;  // as proc(5) escapes it
  std::string what;   // all that bears on the files there; not its numbers, nor how it is propagated
  bool is_deep = false;
};

std::optional<Mount> parse(const std::string& line) {
  std::istringstream words(line);
  std::string id, parent, device, root, place, options, word, type, source, super;
  if (!(words >> id >> parent >> device >> root >> place >> options)) return {};
  while (words >> word && word != "-") continue;
  words >> type >> source >> super;
  return Mount{place, device + " " + root + " " + options + " " + type + " " + source + " " + super,
               type == "tmpfs" && source == DEEP_SOURCE};
}

std::vector<Mount> parse_table(std::string_view table) {
  std::vector<Mount> mounts;
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);)
    if (auto mount = parse(line)) mounts.push_back(std::move(*mount));
  return mounts;
}

std::string unescaped(const std::string& place) {
  std::string text;
  for (std::size_t i = 0; i < place.size(); i++) {
    if (place[i] == '\\' && i + 3 < place.size()) {
      text += static_cast<char>(std::stoi(place.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      text += place[i];
    }
  }
  return text;
}

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_same(const std::string& path, const struct stat& file) {
  struct stat other {};
  return ::stat(path.c_str(), &other) == 0 && other.st_dev == file.st_dev && other.st_ino == file.st_ino;
}

// Each id of the namespace is the same one outside.
bool keeps_ids(const std::string& map) {
  std::istringstream numbers(map);
  std::uint64_t inner = 0, outer = 0, count = 0;
  bool any = false;
  while (numbers >> inner >> outer >> count) {
    if (inner != outer) return false;
    any = true;
  }
  return any;
}

}  // namespace

MountDifference compare_mounts(std::string_view ours, std::string_view theirs, const std::string& tree,
                               const std::function<bool(const std::string& place)>& is_ssirun) {
  const auto inside = parse_table(theirs);
  std::string deep;
  for (const auto& mount : inside)
    if (mount.is_deep && unescaped(mount.place) == tree) deep = mount.place;
  if (deep.empty()) return {};
  std::map<std::pair<std::string, std::string>, int> balance;
  for (const auto& mount : parse_table(ours)) balance[{mount.place, mount.what}]++;
  for (const auto& mount : inside)
    if (mount.place != deep && mount.place.rfind(deep + "/", 0) != 0) balance[{mount.place, mount.what}]--;
  // One more at a place, which is ssirun: behind two, only the upper one of which can be looked at, anything may lie.
  std::map<std::string, int> more;
  for (const auto& [mount, more_of_ours] : balance) {
    if (more_of_ours > 0) return {true, unescaped(mount.first)};
    more[mount.first] -= more_of_ours;
  }
  for (const auto& [place, count] : more)
    if (count != 0 && !(count == 1 && is_ssirun(unescaped(place)))) return {true, unescaped(place)};
  return {true, {}};
}

namespace {

std::string excuse_mounts(const Context& deputy, Context& caller, const std::string& proc) {
  auto& theirs = caller.facts["mount namespace"];
  const auto& ours = deputy.facts.at("mount namespace");
  if (theirs == ours) return {};
  struct stat ssirun {};
  const auto own = paths::sibling("ssirun");
  if (!own || ::stat(own->c_str(), &ssirun) != 0) return {};
  const auto is_ssirun = [&](const std::string& place) { return is_same(proc + "/root" + place, ssirun); };
  const auto state = paths::state_dir();
  std::error_code error;
  const auto tree = state ? std::filesystem::weakly_canonical(*state + "/deep", error).string() : std::string();
  const auto mounts = compare_mounts(content("/proc/self/mountinfo"), content(proc + "/mountinfo"), tree, is_ssirun);
  if (!mounts.is_deep) return {};
  if (!mounts.place.empty()) return "what is mounted at " + mounts.place + " is not the same for the caller";
  theirs = ours;
  if (keeps_ids(content(proc + "/uid_map")) && keeps_ids(content(proc + "/gid_map")))
    caller.facts["user namespace"] = deputy.facts.at("user namespace");
  return {};
}

pid_t parent_of(const std::string& proc) {
  std::istringstream lines(content(proc + "/status"));
  for (std::string line; std::getline(lines, line);)
    if (line.rfind("PPid:", 0) == 0) return std::atoi(line.c_str() + 5);
  return 0;
}

// One that traces, and that stands where we do.
bool is_supervisor(const Context& deputy, const std::string& proc, const struct stat& ssi) {
  if (!is_same(proc + "/exe", ssi)) return false;
  const auto words = content(proc + "/cmdline");
  if (words.find(std::string("\0--trace\0", 9)) == std::string::npos) return false;
  auto its = read_context(proc);
  return its && excuse_mounts(deputy, *its, proc).empty() && difference(deputy, *its).empty();
}

// Whoever descends from a supervisor has its filter. Who has one filter more than we have has no other one.
void excuse_filter(const Context& deputy, Context& caller, std::string proc) {
  const auto fact = [](const Context& context, const char* name) {
    const auto it = context.facts.find(name);
    return it == context.facts.end() ? std::string() : it->second;
  };
  static constexpr const char* counted = "seccomp filters";
  if (std::atoi(fact(caller, counted).c_str()) != std::atoi(fact(deputy, counted).c_str()) + 1) return;
  struct stat ssi {};
  const auto own = paths::sibling("ssi");
  if (!own || ::stat(own->c_str(), &ssi) != 0) return;
  constexpr int max_ancestors = 1000;
  for (int count = 0; count < max_ancestors; count++) {
    const auto parent = parent_of(proc);
    if (parent <= 1) return;
    proc = "/proc/" + std::to_string(parent);
    if (!is_supervisor(deputy, proc, ssi)) continue;
    for (const auto* name : {counted, "seccomp mode", "no_new_privs"})
      caller.facts[name] = fact(deputy, name);
    return;
  }
}

}  // namespace

std::string excuse(const Context& deputy, Context& caller, pid_t pid) {
  const auto proc = "/proc/" + std::to_string(pid);
  excuse_filter(deputy, caller, proc);
  return excuse_mounts(deputy, caller, proc);
}

}  // namespace ssi
