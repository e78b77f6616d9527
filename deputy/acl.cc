// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/acl.h"

#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "deputy/file_id.h"

namespace ssi {

namespace {

// Calls a listxattr-like function.
template <class List>
bool lists_acl(const List& list) {
  std::array<char, 1024> names;
  const auto size = list(names.data(), names.size());
  if (size < 0) return errno == ERANGE;
  return std::string_view(names.data(), static_cast<std::size_t>(size)).find("system.posix_acl_") !=
         std::string_view::npos;
}

}  // namespace

bool may_have_acl(int fd) {
  return lists_acl([&](char* to, std::size_t size) { return ::listxattr(ProcPath(fd).c_str(), to, size); });
}

bool may_have_acl(int directory, const std::string& name) {
  const auto path = std::string(ProcPath(directory).c_str()) + "/" + name;
  return lists_acl([&](char* to, std::size_t size) { return ::llistxattr(path.c_str(), to, size); });
}

std::uint32_t mode_in(int directory, std::uint32_t mode, std::uint32_t umask) {
  const bool inherits = ::getxattr(ProcPath(directory).c_str(), "system.posix_acl_default", nullptr, 0) > 0;
  return inherits ? mode : mode & ~(umask & 0777);
}

}  // namespace ssi
