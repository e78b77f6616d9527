// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/fence.h"

#include <utility>

#include "common/log.h"
#include "common/tcp.h"

namespace ssi {
namespace {

constexpr std::uint64_t retry_ms = 1'000;  // a connection that says nothing for so long is given up too

}  // namespace

Fence::Fence(Loop& loop, const Identity& self, Target target, std::uint64_t patience_ms,
             std::function<void()> over)
    : loop_(loop),
      self_(self),
      target_(std::move(target)),
      until_(uv_now(loop.uv()) + patience_ms),
      over_(std::move(over)),
      retry_(loop) {
  retry_.once(0, [this] { attempt(); });
}

Fence::~Fence() = default;

void Fence::attempt() {
  connection_.reset();
  if (said_ || uv_now(loop_.uv()) >= until_) return loop_.defer(over_);
  retry_.once(retry_ms, [this] { attempt(); });
  auto socket = dial_tcp(target_.address);
  if (!socket) return;
  word_ = frame_of(wire::Over{target_.session});
  connection_ = std::make_unique<Connection>(
      loop_, std::move(*socket), TlsStream::Side::home, self_, target_.guest_key,
      wire::resume_mark + target_.session,
      Connection::Events{[] {},
                         [](const Connection::Frame&) { return true; },
                         [this] { return std::string_view(word_); },
                         [this](std::size_t bytes) { word_.erase(0, bytes); },
                         [this](const Error&) {
                           said_ = said_ || (connection_->established() && word_.empty());  // it has hung up on us
                           if (said_) retry_.once(0, [this] { attempt(); });
                         }});
}

}  // namespace ssi
