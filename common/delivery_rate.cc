// SPDX-License-Identifier: LGPL-2.1-or-later
// A file of its own: the kernel's struct tcp_info is newer than that of <netinet/tcp.h>, which cannot stand beside it.
#include "common/delivery_rate.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace ssi {

std::uint64_t delivery_rate(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  const bool known = ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                     size >= offsetof(tcp_info, tcpi_delivery_rate) + sizeof info.tcpi_delivery_rate;
  return known ? info.tcpi_delivery_rate : 0;
}

}  // namespace ssi
