// SPDX-License-Identifier: LGPL-2.1-or-later
// SQLite's wal-index: a file NAME-shm that all users of a database share by mapping it (wal.html, "Implementation of
// shared memory for the WAL-index"), which users on two machines cannot: each would write what the others have
// written over. Whoever uses it has a read lock of one byte of it (os_unix.c, UNIX_SHM_DMS), and makes it anew when
// nobody else has. So this byte is one machine's at a time: the first lock of a guest write-locks it at home, for
// all of that guest's owners, whose own locks of it are of a byte that nobody else locks.
// Who comes from another machine meanwhile is told SQLITE_BUSY, waits, and gives up with SQLITE_PROTOCOL.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "common/wire.h"

namespace ssi::wal_index {

constexpr std::int64_t user_byte = 128;
constexpr std::int64_t owners_byte = std::numeric_limits<std::int64_t>::max() - 1;
constexpr std::uint64_t guest_owner =
    std::numeric_limits<std::uint64_t>::max();  // the lock for all of its owners

inline bool is_one(std::string_view name) {
  return name.ends_with("-shm");
}

inline bool is_its_user(const wire::LockRange& range) {
  return range.start == user_byte && range.length == 1;
}

}  // namespace ssi::wal_index
