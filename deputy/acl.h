// SPDX-License-Identifier: LGPL-2.1-or-later
// POSIX access control lists (acl(5)): whether a file has any. Home's kernel judges by them, and so does the guest's,
// which asks for each file that is not known to have none.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace ssi {

// Whether a file, not a symbolic link, may have one: of its own, or to pass on.
bool may_have_acl(int fd);
bool may_have_acl(int directory, const std::string& name);

// With which mode a job makes a file in a directory, for home's kernel to apply as it is (our own umask is 0): the
// directory's default ACL stands in for the umask.
std::uint32_t mode_in(int directory, std::uint32_t mode, std::uint32_t umask);

}  // namespace ssi
