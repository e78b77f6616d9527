// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cassert>
#include <cstring>
#include <utility>

namespace ssi {
namespace {

constexpr std::size_t max_frame = sizeof(FrameHeader) + wire::max_meta + wire::max_body;

// Latency first: no Nagle; little unsent data in the kernel, so that a small frame overtakes bulk; and a dead peer is
// noticed (a firewall that drops packets shows no error by itself).
void tune(int fd) {
  const int on = 1, unsent = 128 << 10, timeout_ms = 20'000;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

std::uint32_t size32(std::size_t size) {
  return static_cast<std::uint32_t>(size);
}

}  // namespace

std::string frame_of(std::uint16_t kind, std::uint32_t id, std::uint16_t flags, std::string_view meta,
                     std::string_view body) {
  assert(meta.size() <= wire::max_meta && body.size() <= wire::max_body);
  const FrameHeader header{size32(meta.size() + body.size()), id, kind, flags, size32(meta.size())};
  std::string frame;
  frame.reserve(sizeof header + meta.size() + body.size());
  frame.append(reinterpret_cast<const char*>(&header), sizeof header).append(meta).append(body);
  return frame;
}

Connection::Connection(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self,
                       const std::string& peer, std::string preface, Events events)
    : loop_(loop),
      tls_(std::move(socket), side, self, peer),
      events_(std::move(events)),
      preface_(std::move(preface)) {
  tune(tls_.fd());
  in_.resize(2 * max_frame);
  hear();
  poll_ = std::make_unique<Poll>(loop_, tls_.fd(), [this](int) { on_poll(); });
  poll_->want(UV_READABLE | UV_WRITABLE);
}

Connection::~Connection() {
  *alive_ = false;
}

void Connection::flush_soon() {
  if (!established_ || write_blocked_ || flush_scheduled_) return;
  flush_scheduled_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    flush_scheduled_ = false;
    flush();
  });
}

void Connection::pause(bool paused) {
  if (std::exchange(paused_, paused) == paused || closed_) return;
  update_poll();
  if (!paused) read_later();
}

void Connection::try_write(std::string_view bytes) {
  if (established_ && !closed_ && !mid_write_) (void)tls_.write(bytes);
}

void Connection::on_poll() {
  if (closed_) return;
  if (!established_) return handshake();
  write_blocked_ = false;
  const auto alive = alive_;
  read_all();
  if (!*alive || closed_) return;
  flush();
}

// The first bytes of a fresh connection: the kernel takes all of them, or it is broken.
bool Connection::write_preface() {
  if (preface_.empty()) return true;
  const auto preface = std::exchange(preface_, {});
  if (::send(tls_.fd(), preface.data(), preface.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(preface.size()))
    return true;
  close(os_error("connect").value());
  return false;
}

void Connection::handshake() {
  if (!write_preface()) return;
  const auto progress = tls_.handshake();
  if (!progress) return close(progress.error());
  if (progress->wants != TlsStream::Wants::nothing) {
    poll_->want(progress->wants == TlsStream::Wants::read ? UV_READABLE : UV_WRITABLE);
    return;
  }
  established_ = true;
  hear();
  const auto alive = alive_;
  events_.ready();
  if (!*alive || closed_) return;
  read_all();
  if (!*alive || closed_) return;
  flush();
}

void Connection::read_all() {
  // A turn is bounded, so that writing and the other handles are served while a peer floods us.
  for (int turn = 0; turn < 16; ++turn) {
    if (paused_) return update_poll();
    const auto progress = tls_.read({in_.data() + filled_, in_.size() - filled_});
    if (!progress) return close(progress.error());
    if (progress->wants != TlsStream::Wants::nothing) return;
    if (progress->bytes == 0) return close({std::error_code(ECONNRESET, std::generic_category()), "session"});
    filled_ += progress->bytes;
    hear();
    if (!parse()) return;
  }
  read_later();
}

// Delivers all complete frames. False when the connection is closed or gone.
bool Connection::parse() {
  while (filled_ - parsed_ >= sizeof(FrameHeader)) {
    FrameHeader header;
    std::memcpy(&header, in_.data() + parsed_, sizeof header);
    if (header.meta > header.length || header.meta > wire::max_meta ||
        header.length - header.meta > wire::max_body) {
      close({std::error_code(EPROTO, std::generic_category()), "frame with impossible sizes"});
      return false;
    }
    if (filled_ - parsed_ < sizeof header + header.length) break;
    const char* fields = in_.data() + parsed_ + sizeof header;
    parsed_ += sizeof header + header.length;
    if (!events_.frame({header,
                        {fields, header.meta},
                        {fields + header.meta, header.length - header.meta}}))
      return false;
  }
  if (parsed_ > 0) {
    std::memmove(in_.data(), in_.data() + parsed_, filled_ - parsed_);
    filled_ -= parsed_;
    parsed_ = 0;
  }
  return true;
}

void Connection::flush() {
  if (!established_ || closed_) return;
  for (;;) {
    const auto bytes = events_.more();
    if (bytes.empty()) break;
    const auto progress = tls_.write(bytes);
    if (!progress) return close(progress.error());
    if (progress->wants != TlsStream::Wants::nothing) {
      write_blocked_ = mid_write_ = true;
      send_buffer_.full(uv_now(loop_.uv()), tls_.fd());
      break;
    }
    mid_write_ = progress->bytes < bytes.size();
    events_.wrote(progress->bytes);
  }
  update_poll();
}

void Connection::update_poll() {
  if (poll_ && established_) poll_->want((paused_ ? 0 : UV_READABLE) | (write_blocked_ ? UV_WRITABLE : 0));
}

// Reads on after the current callback. OpenSSL may hold decrypted bytes that poll(2) does not know of.
void Connection::read_later() {
  loop_.defer([this, alive = alive_] {
    if (*alive && !closed_) read_all();
  });
}

void Connection::close(const Error& why) {
  if (closed_) return;
  closed_ = true;
  poll_.reset();
  loop_.defer([this, alive = alive_, why] {
    if (*alive) events_.lost(why);
  });
}

}  // namespace ssi
