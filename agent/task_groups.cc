// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/task_groups.h"

#include <fcntl.h>

#include <array>
#include <sstream>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::size_t most = 1000;  // an array of the wire has 1024 elements

struct Extent {
  std::uint64_t inner = 0, outer = 0, count = 0;
};

std::optional<std::uint32_t> inner_of(const std::vector<Extent>& map, std::uint64_t outer) {
  for (const auto& extent : map)
    if (outer >= extent.outer && outer - extent.outer < extent.count)
      return static_cast<std::uint32_t>(extent.inner + (outer - extent.outer));
  return {};
}

std::string read_file(pid_t task, const char* name) {
  const Fd file(::open(("/proc/" + std::to_string(task) + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got; file && (got = ::read(file.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  return text;
}

}  // namespace

std::optional<std::vector<std::uint32_t>> groups_of(std::string_view status, std::string_view gid_map) {
  constexpr std::string_view field = "\nGroups:\t";
  const auto at = status.find(field);
  if (at == status.npos) return {};
  const auto line = status.substr(at + field.size());
  std::vector<Extent> map;
  std::istringstream lines{std::string(gid_map)};
  for (Extent extent; lines >> extent.inner >> extent.outer >> extent.count;) map.push_back(extent);
  std::vector<std::uint32_t> groups;
  std::istringstream words{std::string(line.substr(0, line.find('\n')))};
  for (std::uint64_t group; words >> group;) {
    const auto inner = inner_of(map, group);
    if (!inner || groups.size() == most) return {};
    groups.push_back(*inner);
  }
  return groups;
}

void add_groups(wire::Caller& caller, pid_t task) {
  if (task <= 0) return;
  auto groups = groups_of(read_file(task, "status"), read_file(task, "gid_map"));
  if (!groups) return;
  caller.has_groups = 1;
  caller.groups = std::move(*groups);
}

}  // namespace ssi
