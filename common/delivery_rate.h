// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace ssi {

// Bytes a second that a TCP connection has lately brought to its peer; 0: not known. Linux (TCP_INFO, tcpi_delivery_rate).
std::uint64_t delivery_rate(int socket);

}  // namespace ssi
