// SPDX-License-Identifier: LGPL-2.1-or-later
// How much the kernel takes of what a connection has to send. What it has taken, a small frame cannot overtake any more: on a near link
// it is kept to what keeps the link busy, and about a millisecond's worth more. (Left to itself the kernel lets the queue grow to several.)
#pragma once

#include <cstdint>
#include <optional>

#include "common/link_state.h"

namespace ssi {

class SendBuffer {
 public:
  // The link was full at `now` (ms) with this state. Returns the bytes that the buffer is to have from now on, if that is news. Pure.
  std::optional<std::uint64_t> full(std::uint64_t now, const LinkState& link);

  // The same for a socket, and sets it. Cheap when called often.
  void full(std::uint64_t now, int socket);

 private:
  std::uint64_t looked_ = 0, began_ = 0;  // ms
  std::uint64_t best_ = 0, before_ = 0;   // rates: the highest of this span, and of the one before
  std::uint64_t size_ = 0;                // as set; 0: the kernel's own
};

}  // namespace ssi
