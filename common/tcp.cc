// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/tcp.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>

namespace ssi {
namespace {

constexpr int waiting_connections = 64;

Result<sockaddr_in> parse(const std::string& address) {
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  const auto colon = address.rfind(':');
  std::uint16_t port = 0;
  const auto* end = address.data() + address.size();
  if (colon == std::string::npos ||
      ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) != 1)
    return failure("'" + address + "' is not an address like 198.18.0.11:7701");
  if (const auto read = std::from_chars(address.data() + colon + 1, end, port);
      read.ec != std::errc() || read.ptr != end || port == 0)
    return failure("'" + address + "' has no port from 1 to 65535");
  parsed.sin_port = htons(port);
  return parsed;
}

Fd tcp_socket() {
  return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<Fd> dial_tcp(const std::string& address) {
  const auto to = parse(address);
  if (!to) return tl::make_unexpected(to.error());
  Fd socket = tcp_socket();
  if (!socket) return os_error("socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*to), sizeof *to) != 0 &&
      errno != EINPROGRESS)
    return os_error("connect " + address);
  return socket;
}

Result<Fd> listen_tcp(const std::string& address) {
  const auto at = parse(address);
  if (!at) return tl::make_unexpected(at.error());
  Fd socket = tcp_socket();
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*at), sizeof *at) != 0 ||
      ::listen(socket.get(), waiting_connections) != 0)
    return os_error("listen on " + address);
  return socket;
}

Status check_reachable(const std::string& address) {
  const auto parsed = parse(address);
  if (!parsed) return tl::make_unexpected(parsed.error());
  if (parsed->sin_addr.s_addr == htonl(INADDR_ANY))
    return failure("'" + address + "' is no address that others can connect to: name one of this machine's");
  return {};
}

}  // namespace ssi
