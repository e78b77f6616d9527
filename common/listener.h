// SPDX-License-Identifier: LGPL-2.1-or-later
// A listening socket of a process that may run out of descriptors. A connection that cannot be accepted stays in the queue,
// and the socket readable: who waits for it would turn in a loop, and the peer wait for ever. So one descriptor is kept in
// reserve, with which such a connection is taken and closed.
#pragma once

#include <cstddef>
#include <string>

#include "common/fd.h"
#include "common/seldom.h"

namespace ssi {

class Listener {
 public:
  explicit Listener(Fd socket);  // which does not block; empty: there is none

  int fd() const { return socket_.get(); }

  // The next connection, close-on-exec and not blocking. Empty: no other one waits. One that had to be closed is said in the
  // log.
  Fd accept();

 private:
  bool refuse();  // false: nobody was there

  Fd socket_, reserve_;
  Seldom said_;
};

// Whether so many more could be opened now. Some libraries abort when they get none.
bool descriptors_left(std::size_t count);

std::size_t descriptor_limit();  // RLIMIT_NOFILE, now

// "out of descriptors (RLIMIT_NOFILE is 1024)"
std::string no_descriptors();

}  // namespace ssi
