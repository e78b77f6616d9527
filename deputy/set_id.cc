// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/set_id.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace ssi {

std::string set_id_remark(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return "";
  const auto lost = [&](const char* what) {
    return std::string("the ") + what + " of " + path + " has no effect in a guest";
  };
  if (status.st_mode & S_ISUID && status.st_uid != ::geteuid()) return lost("set-user-ID bit");
  if (status.st_mode & S_ISGID && status.st_mode & S_IXGRP && status.st_gid != ::getegid())
    return lost("set-group-ID bit");
  if (::geteuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0)
    return lost("security.capability attribute");
  return "";
}

}  // namespace ssi
