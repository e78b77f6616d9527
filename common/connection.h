// SPDX-License-Identifier: LGPL-2.1-or-later
// One TCP connection of a session (common/session.h): TLS 1.3, and frames as they come and go. A session outlives it.
//
// A frame is a 16-byte header {length, id, kind or errno, flags, length of metadata}, msgpack metadata and a raw body of at
// most wire::max_body bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/fd.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/send_buffer.h"
#include "common/tls.h"
#include "common/wire.h"

namespace ssi {

struct FrameHeader {
  std::uint32_t length = 0;  // of metadata and body
  std::uint32_t id = 0;
  std::uint16_t kind = 0;  // in a reply: 0 or an errno
  std::uint16_t flags = 0;
  std::uint32_t meta = 0;  // length of the metadata
};
static_assert(sizeof(FrameHeader) == 16);

// The bytes of a frame.
std::string frame_of(std::uint16_t kind, std::uint32_t id, std::uint16_t flags, std::string_view meta,
                     std::string_view body);
template <class M>
std::string frame_of(const M& message) {
  return frame_of(wire::kind_of<M>(), 0, 0, wire::pack(message), {});
}

// The process must ignore SIGPIPE.
class Connection {
 public:
  // The views are valid until the callback returns.
  struct Frame {
    FrameHeader header;
    std::string_view meta, body;
  };

  // All are called from the loop.
  struct Events {
    std::function<void()> ready;                 // the handshake is done; peer_key() is authenticated
    std::function<bool(const Frame&)> frame;     // false: this connection has been closed, or destroyed
    std::function<std::string_view()> more;      // what is to be written next; empty: nothing
    std::function<void(std::size_t)> wrote;      // so many bytes of it
    std::function<void(const Error&)> lost;      // called once, deferred; nothing follows
  };

  // `socket` is connected or connecting, and non-blocking. `peer` is the only Ed25519 key to accept; empty: any that proves
  // itself. `preface` is written before TLS begins.
  Connection(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self, const std::string& peer,
             std::string preface, Events events);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::string& peer_key() const { return tls_.peer_key(); }
  bool established() const { return established_; }
  bool closed() const { return closed_; }
  std::uint64_t last_heard() const { return last_heard_; }  // loop time, ms
  void hear() { last_heard_ = uv_now(loop_.uv()); }         // counts as heard of from now on

  // There is more to write: asks for it once the current callback has returned, so that what is said in one turn of the
  // loop leaves together.
  void flush_soon();

  int socket() const { return tls_.fd(); }

  void pause(bool paused);  // reads nothing meanwhile
  bool paused() const { return paused_; }

  // Writes what the kernel takes at once, behind what it has; for a last word. Nothing, when a frame is half written.
  void try_write(std::string_view bytes);

  void close(const Error& why);  // `lost` is called with `why`

 private:
  void on_poll();
  bool write_preface();
  void handshake();
  void read_all();
  void read_later();
  bool parse();
  void flush();
  void update_poll();

  Loop& loop_;
  TlsStream tls_;
  Events events_;
  std::string preface_;
  std::unique_ptr<Poll> poll_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool established_ = false, closed_ = false, flush_scheduled_ = false;
  SendBuffer send_buffer_;
  bool write_blocked_ = false, paused_ = false, mid_write_ = false;
  std::string in_;  // received and not yet parsed: in_[parsed_ .. filled_)
  std::size_t parsed_ = 0, filled_ = 0;
  std::uint64_t last_heard_ = 0;
};

}  // namespace ssi
