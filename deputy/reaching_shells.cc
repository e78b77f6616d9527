// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/reaching_shells.h"

#include <sys/stat.h>

#include <cstdint>
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

MountDifference compare_mounts(std::string_view ours, std::string_view theirs,
                               const std::function<bool(const std::string& place)>& is_ssirun) {
  const auto inside = parse_table(theirs);
  std::string deep;
  for (const auto& mount : inside)
    if (mount.is_deep) deep = mount.place;
  if (deep.empty()) return {};
  std::map<std::pair<std::string, std::string>, int> balance;
  for (const auto& mount : parse_table(ours)) balance[{mount.place, mount.what}]++;
  for (const auto& mount : inside)
    if (mount.place != deep && mount.place.rfind(deep + "/", 0) != 0) balance[{mount.place, mount.what}]--;
  for (const auto& [mount, more_of_ours] : balance)
    if (more_of_ours != 0 && !(more_of_ours == -1 && is_ssirun(unescaped(mount.first))))
      return {true, unescaped(mount.first)};
  return {true, {}};
}

std::string excuse(const Context& deputy, Context& caller, pid_t pid) {
  auto& theirs = caller.facts["mount namespace"];
  const auto& ours = deputy.facts.at("mount namespace");
  if (theirs == ours) return {};
  const auto proc = "/proc/" + std::to_string(pid);
  struct stat ssirun {};
  const auto own = paths::sibling("ssirun");
  if (!own || ::stat(own->c_str(), &ssirun) != 0) return {};
  const auto is_ssirun = [&](const std::string& place) {
    struct stat file {};
    return ::stat((proc + "/root" + place).c_str(), &file) == 0 && file.st_dev == ssirun.st_dev &&
           file.st_ino == ssirun.st_ino;
  };
  const auto mounts = compare_mounts(content("/proc/self/mountinfo"), content(proc + "/mountinfo"), is_ssirun);
  if (!mounts.is_deep) return {};
  if (!mounts.place.empty()) return "what is mounted at " + mounts.place + " is not the same for the caller";
  theirs = ours;
  if (keeps_ids(content(proc + "/uid_map")) && keeps_ids(content(proc + "/gid_map")))
    caller.facts["user namespace"] = deputy.facts.at("user namespace");
  return {};
}

}  // namespace ssi
