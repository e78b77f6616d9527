// SPDX-License-Identifier: LGPL-2.1-or-later
// A file of its own: the kernel's struct tcp_info is newer than that of <netinet/tcp.h>, which cannot stand beside it.
#include "common/link_state.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace ssi {

LinkState link_state(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  const bool known = ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                     size >= offsetof(tcp_info, tcpi_delivery_rate) + sizeof info.tcpi_delivery_rate;
  if (!known) return {};
  return {info.tcpi_delivery_rate, info.tcpi_min_rtt == ~0U ? 0 : info.tcpi_min_rtt};
}

}  // namespace ssi
