// SPDX-License-Identifier: LGPL-2.1-or-later
// Bytes with descriptors over a unix socket. Source: unix(7), SCM_RIGHTS.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

inline constexpr std::size_t max_passed = 250;  // descriptors in one message

// Sends `bytes` whole, the descriptors with the first of them. Blocks unless the socket or `flags` (MSG_DONTWAIT) say
// otherwise.
Status send_with_fds(int socket, std::span<const char> bytes, std::span<const int> fds, int flags = 0);

struct Received {
  std::size_t bytes = 0;  // 0: end of file
  std::vector<Fd> fds;    // close-on-exec
  pid_t sender = 0;       // in our pid namespace, when the socket has SO_PASSCRED
  bool lost = false;      // descriptors came that we have no room for: the process has as many as it may have
};

// One recvmsg(2). EAGAIN shows as an error with that code.
Result<Received> receive_with_fds(int socket, std::span<char> into);

template <class T>
requires std::is_trivially_copyable_v<T> Status send_packet(int socket, const T& packet,
                                                            std::span<const int> fds = {}) {
  return send_with_fds(socket, {reinterpret_cast<const char*>(&packet), sizeof packet}, fds);
}

}  // namespace ssi
