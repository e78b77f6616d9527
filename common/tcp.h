// SPDX-License-Identifier: LGPL-2.1-or-later
// TCP sockets at numeric addresses, "198.18.0.11:7701": non-blocking, close-on-exec.
#pragma once

#include <string>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

// Opens a connection. Source: connect(2); EINPROGRESS is success.
Result<Fd> dial_tcp(const std::string& address);

// Source: bind(2), listen(2).
Result<Fd> listen_tcp(const std::string& address);

// An error when others cannot connect to this address: a host name, 0.0.0.0, no port.
Status check_reachable(const std::string& address);

}  // namespace ssi
