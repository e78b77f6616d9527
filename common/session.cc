// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/session.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cassert>
#include <cstring>
#include <utility>

namespace ssi {
namespace {

struct Header {
  std::uint32_t length = 0;  // of metadata and body
  std::uint32_t id = 0;
  std::uint16_t kind = 0;  // in a reply: 0 or an errno
  std::uint16_t flags = 0;
  std::uint32_t meta = 0;  // length of the metadata
};
static_assert(sizeof(Header) == 16);

constexpr std::size_t max_frame = sizeof(Header) + wire::max_meta + wire::max_body;
constexpr std::size_t batch = 64 << 10;          // small frames are coalesced up to this
constexpr std::size_t bulk_from = 4 << 10;       // bodies from this size take the bulk lane
constexpr std::uint64_t acknowledge_every = 64;  // frames
constexpr std::size_t max_backlog = 16 << 20;    // bytes unsent, from which on nothing more is read
constexpr std::uint64_t beat_ms = 2'000, silence_ms = 15'000;

bool has_position(const std::string& frame) {
  Header header;
  std::memcpy(&header, frame.data(), sizeof header);
  return header.flags != 0 || header.kind != wire::kind_of<wire::Taken>();
}

std::uint32_t size32(std::size_t size) {
  return static_cast<std::uint32_t>(size);
}

// Latency first: no Nagle; little unsent data in the kernel, so that a small frame overtakes bulk; and a dead peer is
// noticed (a firewall that drops packets shows no error by itself).
void tune(int fd) {
  const int on = 1, unsent = 128 << 10, timeout_ms = 20'000;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

}  // namespace

Session::Session(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self, const std::string& peer,
                 Events events)
    : loop_(loop), tls_(std::move(socket), side, self, peer), events_(std::move(events)), heartbeat_(loop) {
  tune(tls_.fd());
  in_.resize(2 * max_frame);
  last_heard_ = last_sent_ = uv_now(loop_.uv());
  poll_ = std::make_unique<Poll>(loop_, tls_.fd(), [this](int ready) { on_poll(ready); });
  poll_->want(UV_READABLE | UV_WRITABLE);
  heartbeat_.every(beat_ms, [this] { beat(); });
  heartbeat_.unref();
}

Session::~Session() {
  *alive_ = false;
}

void Session::fail(std::uint32_t id, int error) {
  send(static_cast<std::uint16_t>(error), id, flag_reply, {}, {}, Lane::small);
}

std::uint32_t Session::await(Await done) {
  const auto id = next_id_++;
  if (next_id_ == 0) next_id_ = 1;
  waiting_.emplace(id, std::move(done));
  if (closed_)
    loop_.defer([this, alive = alive_, id] {
      if (!*alive) return;
      if (auto node = waiting_.extract(id)) node.mapped()(ENOTCONN, {});
    });
  return id;
}

void Session::send(std::uint16_t kind, std::uint32_t id, std::uint16_t flags, std::string meta,
                   std::string_view body, Lane lane) {
  if (closed_) return;
  assert(meta.size() <= wire::max_meta && body.size() <= wire::max_body);
  const Header header{size32(meta.size() + body.size()), id, kind, flags, size32(meta.size())};
  std::string frame;
  frame.reserve(sizeof header + meta.size() + body.size());
  frame.append(reinterpret_cast<const char*>(&header), sizeof header).append(meta).append(body);
  backlog_ += frame.size();
  auto& queue = lane == Lane::bulk || body.size() >= bulk_from ? bulk_ : small_;
  queue.push_back(std::move(frame));
  schedule_flush();
}

// Frames that are sent within one turn of the loop leave together.
void Session::schedule_flush() {
  if (!established_ || write_blocked_ || flush_scheduled_) return;
  flush_scheduled_ = true;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    flush_scheduled_ = false;
    flush();
  });
}

void Session::on_poll(int) {
  if (closed_) return;
  if (!established_) return handshake();
  write_blocked_ = false;
  const auto alive = alive_;
  read_all();
  if (!*alive || closed_) return;
  flush();
}

void Session::handshake() {
  const auto progress = tls_.handshake();
  if (!progress) return close(progress.error());
  if (progress->wants != TlsStream::Wants::nothing) {
    poll_->want(progress->wants == TlsStream::Wants::read ? UV_READABLE : UV_WRITABLE);
    return;
  }
  established_ = true;
  last_heard_ = uv_now(loop_.uv());
  const auto alive = alive_;
  if (events_.ready) events_.ready();
  if (!*alive || closed_) return;
  read_all();
  if (!*alive || closed_) return;
  flush();
}

void Session::read_all() {
  // A turn is bounded, so that writing and the other handles are served while a peer floods us.
  for (int turn = 0; turn < 16; ++turn) {
    // A peer that asks and does not read the answers gets no more of our memory.
    read_paused_ = backlog_ > max_backlog;
    if (read_paused_) return update_poll();
    const auto progress = tls_.read({in_.data() + filled_, in_.size() - filled_});
    if (!progress) return close(progress.error());
    if (progress->wants != TlsStream::Wants::nothing) return;
    if (progress->bytes == 0) return close({std::error_code(ECONNRESET, std::generic_category()), "session"});
    filled_ += progress->bytes;
    last_heard_ = uv_now(loop_.uv());
    if (!parse()) return;
  }
  read_later();
}

// Delivers all complete frames. False when the session is closed or gone.
bool Session::parse() {
  while (filled_ - parsed_ >= sizeof(Header)) {
    Header header;
    std::memcpy(&header, in_.data() + parsed_, sizeof header);
    if (header.meta > header.length || header.meta > wire::max_meta ||
        header.length - header.meta > wire::max_body) {
      close({std::error_code(EPROTO, std::generic_category()), "frame with impossible sizes"});
      return false;
    }
    if (filled_ - parsed_ < sizeof header + header.length) break;
    const char* fields = in_.data() + parsed_ + sizeof header;
    parsed_ += sizeof header + header.length;
    bytes_in_ += sizeof header + header.length;
    if (!deliver(header.id, header.kind, header.flags, {fields, header.meta},
                 {fields + header.meta, header.length - header.meta}))
      return false;
  }
  if (parsed_ > 0) {
    std::memmove(in_.data(), in_.data() + parsed_, filled_ - parsed_);
    filled_ -= parsed_;
    parsed_ = 0;
  }
  return true;
}

bool Session::deliver(std::uint32_t id, std::uint16_t kind, std::uint16_t flags, std::string_view meta,
                      std::string_view body) {
  const auto alive = alive_;
  const Incoming frame{kind, id, meta, body};
  if (!(flags & flag_reply) && kind == wire::kind_of<wire::Taken>()) {
    if (const auto taken = wire::unpack<wire::Taken>(meta)) taken_by_peer_ = taken->position;
    return true;
  }
  ++received_;
  acknowledge();
  if (flags & flag_reply) {
    auto node = waiting_.extract(id);
    if (node) node.mapped()(kind, frame);
  } else if (kind == wire::kind_of<wire::Ping>()) {
    reply(id, wire::None{});
  } else {
    events_.frame(frame);
  }
  return *alive && !closed_;
}

void Session::acknowledge() {
  if (received_ - acknowledged_ < acknowledge_every) return;
  acknowledged_ = received_;
  send(wire::kind_of<wire::Taken>(), 0, 0, wire::pack(wire::Taken{received_}), {}, Lane::small);
}

// Moves queued frames to out_: all small ones first, then one of bulk. False when nothing is queued.
bool Session::fill() {
  out_.clear();
  out_done_ = 0;
  while (!small_.empty() && out_.size() < batch) {
    sent_ += has_position(small_.front());
    out_ += small_.front();
    small_.pop_front();
  }
  if (out_.empty() && !bulk_.empty()) {
    out_ = std::move(bulk_.front());
    bulk_.pop_front();
    ++sent_;
  }
  return !out_.empty();
}

void Session::flush() {
  if (!established_ || closed_) return;
  while (out_done_ < out_.size() || fill()) {
    const auto progress = tls_.write({out_.data() + out_done_, out_.size() - out_done_});
    if (!progress) return close(progress.error());
    if (progress->wants != TlsStream::Wants::nothing) {
      write_blocked_ = true;
      break;
    }
    out_done_ += progress->bytes;
    bytes_out_ += progress->bytes;
    backlog_ -= progress->bytes;
    last_sent_ = uv_now(loop_.uv());
  }
  if (read_paused_ && backlog_ <= max_backlog) {
    read_paused_ = false;
    read_later();
  }
  update_poll();
}

void Session::update_poll() {
  poll_->want((read_paused_ ? 0 : UV_READABLE) | (write_blocked_ ? UV_WRITABLE : 0));
}

// Reads on after the current callback. OpenSSL may hold decrypted bytes that poll(2) does not know of.
void Session::read_later() {
  loop_.defer([this, alive = alive_] {
    if (*alive && !closed_) read_all();
  });
}

void Session::beat() {
  const auto now = uv_now(loop_.uv());
  if (now - last_heard_ > silence_ms)
    return close({std::error_code(ETIMEDOUT, std::generic_category()), "session"});
  if (established_ && now - last_heard_ >= beat_ms && !std::exchange(pinging_, true))
    call(wire::Ping{}, {}, [this](const Result<wire::None>&, std::string_view) { pinging_ = false; });
  if (established_ && received_ != acknowledged_) {
    acknowledged_ = received_;
    send(wire::kind_of<wire::Taken>(), 0, 0, wire::pack(wire::Taken{received_}), {}, Lane::small);
  }
}

void Session::close(const Error& why) {
  if (closed_) return;
  closed_ = true;
  poll_.reset();
  heartbeat_.stop();
  loop_.defer([this, alive = alive_, why] {
    if (!*alive) return;
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& [id, done] : waiting) {
      done(ENOTCONN, {});
      if (!*alive) return;
    }
    if (events_.closed) events_.closed(why);
  });
}

}  // namespace ssi
