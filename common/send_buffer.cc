// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/send_buffer.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace ssi {
namespace {

constexpr std::uint64_t look_ms = 20, span_ms = 2'000;
// Farther away, or over the air, delays vary by more than the queue is to be: there the kernel knows better.
constexpr std::uint64_t near_us = 1'000;
constexpr std::uint64_t spare_us = 600;
// Twice SO_SNDBUF is what the kernel counts, with its own structures; and no more than net.core.wmem_max (208 KiB) may be set. Once it is,
// the kernel does not change it by itself any more: where more would be needed, it is never set.
constexpr std::uint64_t least = 96 << 10, most = 384 << 10;

}  // namespace

std::optional<std::uint64_t> SendBuffer::full(std::uint64_t now, const LinkState& link) {
  if (link.rate == 0 || link.round_trip == 0) return {};
  if (now - began_ >= span_ms) {
    before_ = std::exchange(best_, 0);
    began_ = now;
  }
  best_ = std::max(best_, link.rate);
  // Twice what is on its way at that rate: so a rate that was too low, since the buffer was too small, grows.
  const auto wanted = std::max(best_, before_) * (2 * link.round_trip + spare_us) / 1'000'000;
  if (size_ == 0 && (link.round_trip > near_us || wanted > most)) return {};
  const auto size = std::clamp(wanted, least, most);
  if (size < size_ + size_ / 8 && size + size / 8 > size_) return {};
  return size_ = size;
}

void SendBuffer::full(std::uint64_t now, int socket) {
  if (now - looked_ < look_ms) return;
  looked_ = now;
  if (const auto size = full(now, link_state(socket))) {
    const int half = static_cast<int>(*size / 2);
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
  }
}

}  // namespace ssi
