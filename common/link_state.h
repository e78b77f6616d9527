// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace ssi {

// What the kernel has lately seen of a TCP connection. Linux (TCP_INFO).
struct LinkState {
  std::uint64_t rate = 0;       // bytes a second that it has brought to its peer; 0: not known
  std::uint64_t round_trip = 0;  // the shortest one, µs; 0: not known
};
LinkState link_state(int socket);

}  // namespace ssi
