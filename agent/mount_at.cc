// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/mount_at.h"

#include <sys/mount.h>

#include <cerrno>

namespace ssi {

Status mount_at(const char* what, const std::string& where, const char* type, unsigned long flags, const std::string& options) {
  for (int tries = 3; tries > 0; --tries) {
    if (::mount(what, where.c_str(), type, flags, options.c_str()) == 0) return {};
    if (errno != ENOENT) break;
  }
  return os_error("mount " + where);
}

}  // namespace ssi
