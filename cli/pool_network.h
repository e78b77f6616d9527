// SPDX-License-Identifier: LGPL-2.1-or-later
// The embedded pool's network. Of root's: a bridge at home with 198.18.N.1/24, and a pair of virtual Ethernet devices
// for each guest. 198.18.0.0/15 is set aside for such things by RFC 2544; nothing is routed out of it.
// Of an ordinary user's: home's loopback. A network namespace can be had without root, but no way into it: one
// end of a pair of devices must be made in home's.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/fd.h"
#include "common/result.h"

namespace ssi {

struct PoolNetwork {
  std::string bridge;  // "ssiN"
  int subnet = -1;     // N of 198.18.N.0/24; -1: home's loopback
  unsigned index = 0;  // of the bridge; the kernel does not give it to the next device of that name

  bool is_loopback() const { return subnet < 0; }
  std::string home_address() const;
  std::string guest_address(int number) const;  // number: 1…64
  std::string home_end(int number) const;       // the device at home of guest `number`
};

// Makes a bridge on the first subnet that is free. Its name carries the subnet's number, and making it fails
// when it exists, so that two pools that come up at once never share one.
Result<PoolNetwork> make_bridge();

// Makes guest `number`'s pair; its far end appears as eth0 in the network namespace of process `pid`.
Status connect_guest(const PoolNetwork& network, int number, pid_t pid);

// To be called inside the guest's network namespace, while home's programs are still there.
Status configure_guest_end(const PoolNetwork& network, int number);

// Deletes the bridge and the guests' devices. What has gone already is no error, and a bridge that another
// pool has made since under the same name is left alone.
Status remove_network(const PoolNetwork& network, int guests);

// A TCP port that nobody has at this address: `first` or one of the thousand behind it.
struct ReservedPort {
  int number;
  Fd held;  // until a daemon listens on it; it can do so meanwhile, but no other reservation gets it
};
Result<ReservedPort> reserve_port(const std::string& address, int first);

}  // namespace ssi
