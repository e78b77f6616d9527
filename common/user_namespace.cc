// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/user_namespace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

#include "common/fd.h"

namespace ssi {
namespace {

Status write_file(const char* path, const std::string& text) {
  const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return os_error(std::string("write ") + path);
  return {};
}

Status map_ids(const Ids& inside, const Ids& outside) {
  // Must come first: without it an unprivileged process may not map a group.
  if (auto done = write_file("/proc/self/setgroups", "deny"); !done) return done;
  const auto map = [](auto inner, auto outer) {
    return std::to_string(inner) + " " + std::to_string(outer) + " 1";
  };
  if (auto done = write_file("/proc/self/uid_map", map(inside.uid, outside.uid)); !done) return done;
  return write_file("/proc/self/gid_map", map(inside.gid, outside.gid));
}

}  // namespace

bool maps_all_ids(std::string_view uid_map) {
  std::istringstream text{std::string(uid_map)};
  std::uint64_t inner = 0, outer = 0, count = 0, sum = 0;
  while (text >> inner >> outer >> count) sum += count;
  return sum >= 0xffffffff;  // the last number means "no id"
}

bool has_all_ids() {
  std::ifstream file("/proc/self/uid_map");
  std::stringstream text;
  text << file.rdbuf();
  return maps_all_ids(text.str());
}

Status become_root_inside(const Ids& outside) {
  return map_ids({0, 0}, outside);
}

Status keep_ids_inside(const Ids& outside) {
  return map_ids(outside, outside);
}

}  // namespace ssi
