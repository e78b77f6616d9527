// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_network.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <set>

#include "cli/pool_tool.h"
#include "common/fd.h"

namespace ssi {
namespace {

constexpr std::uint32_t benchmark_net = 0xC6120000;  // 198.18.0.0

// Third bytes of the 198.18.N.0/24 that some device of this machine has.
Result<std::set<int>> used_subnets() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return os_error("getifaddrs");
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, ::freeifaddrs);
  std::set<int> used;
  for (const ifaddrs* one = list; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
    auto address = ntohl(reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr);
    if ((address & 0xFFFF0000) == benchmark_net) used.insert(static_cast<int>(address >> 8 & 0xFF));
  }
  return used;
}

Status ip(std::vector<std::string> words) {
  words.insert(words.begin(), "ip");
  auto done = run_tool(words);
  if (!done) return tl::make_unexpected(done.error());
  return {};
}

bool exists(const std::string& device) {
  return ::if_nametoindex(device.c_str()) != 0;
}

Status remove_device(const std::string& device) {
  if (!exists(device)) return {};
  auto done = ip({"link", "del", device});
  // The kernel takes a pair away by itself some time after its guest's namespace has gone: that may win the
  // race.
  if (!done && exists(device)) return done;
  return {};
}

}  // namespace

std::string PoolNetwork::home_address() const {
  return is_loopback() ? "127.0.0.1" : fmt::format("198.18.{}.1", subnet);
}
std::string PoolNetwork::guest_address(int number) const {
  return is_loopback() ? "127.0.0.1" : fmt::format("198.18.{}.{}", subnet, 10 + number);
}
std::string PoolNetwork::home_end(int number) const {
  return fmt::format("{}-g{}", bridge, number);
}

namespace {

// A bridge that is not told its address takes the lowest of its ports'. When the guest whose that was dies, the others send to
// an address that nobody has until they ask anew, seconds later.
std::string bridge_address(int subnet) {
  return fmt::format("02:00:c6:12:{:02x}:01", subnet);
}

}  // namespace

Result<PoolNetwork> make_bridge() {
  auto used = used_subnets();
  if (!used) return tl::make_unexpected(used.error());
  for (int subnet = 0; subnet < 256; subnet++) {
    PoolNetwork network{fmt::format("ssi{}", subnet), subnet, 0};
    if (used->contains(subnet) || exists(network.bridge)) continue;
    auto made = ip({"link", "add", network.bridge, "address", bridge_address(subnet), "type", "bridge"});
    if (!made && exists(network.bridge)) continue;  // another pool was faster
    if (!made) return tl::make_unexpected(made.error());
    network.index = ::if_nametoindex(network.bridge.c_str());
    auto up = ip({"addr", "add", network.home_address() + "/24", "dev", network.bridge});
    if (up) up = ip({"link", "set", network.bridge, "up"});
    if (up) return network;
    (void)remove_device(network.bridge);
    return tl::make_unexpected(up.error());
  }
  return failure("all of 198.18.0.0/16 is in use on this machine");
}

Status connect_guest(const PoolNetwork& network, int number, pid_t pid) {
  if (network.is_loopback()) return {};
  std::string device = network.home_end(number);
  auto done =
      ip({"link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", std::to_string(pid)});
  if (done) done = ip({"link", "set", device, "master", network.bridge, "up"});
  return done;
}

Status configure_guest_end(const PoolNetwork& network, int number) {
  if (network.is_loopback()) return {};
  auto done = ip({"link", "set", "lo", "up"});
  if (done) done = ip({"addr", "add", network.guest_address(number) + "/24", "dev", "eth0"});
  if (done) done = ip({"link", "set", "eth0", "up"});
  if (done) done = ip({"route", "add", "default", "via", network.home_address()});
  return done;
}

Status remove_network(const PoolNetwork& network, int guests) {
  if (network.is_loopback() || ::if_nametoindex(network.bridge.c_str()) != network.index) return {};
  Status worst;
  for (int number = 1; number <= guests; number++)
    if (auto done = remove_device(network.home_end(number)); !done) worst = done;
  if (auto done = remove_device(network.bridge); !done) worst = done;
  return worst;
}

Result<ReservedPort> reserve_port(const std::string& address, int first) {
  for (int port = first; port <= first + 1000; port++) {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, address.c_str(), &place.sin_addr);
    // Bound without SO_REUSEADDR it excludes all others; given afterwards, that lets a daemon in that has it too.
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&place), sizeof place) != 0) {
      if (errno != EADDRINUSE) return os_error("bind " + address);
      continue;
    }
    int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return ReservedPort{port, std::move(socket)};
  }
  return failure(fmt::format("no free port at {}", address));
}

}  // namespace ssi
