// SPDX-License-Identifier: LGPL-2.1-or-later
// The link between one deputy and one agent: frames over TLS 1.3, both ends pinned by their keys.
//
// A frame is a 16-byte header {length, id, kind or errno, flags, length of metadata}, msgpack metadata and a raw
// body of at most wire::max_body bytes. Frames of the small lane overtake those of the bulk lane; within a lane the
// order is kept. Every frame but Taken has a position, counted from 1 in each direction.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/fd.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/tls.h"
#include "common/wire.h"

namespace ssi {

// The process must ignore SIGPIPE.
class Session {
 public:
  enum class Lane { small, bulk };

  // A frame that arrived. The views are valid until the callback returns.
  struct Incoming {
    std::uint16_t kind = 0;  // index in wire::Frame
    std::uint32_t id = 0;    // of a request: for reply() and fail()
    std::string_view meta, body;
  };

  // All are called from the loop. Inside any of them the session may be destroyed only by Loop::defer.
  struct Events {
    std::function<void()> ready;                 // the handshake is done; peer_key() is authenticated
    std::function<void(const Incoming&)> frame;  // a request or a one-way frame
    std::function<void(const Error&)> closed;    // the link is gone; called once, nothing follows
  };

  // `socket` is connected or connecting, and non-blocking. `peer` is the only Ed25519 key to accept; the guest's side
  // gives none and must judge peer_key() itself when ready.
  Session(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self, const std::string& peer,
          Events events);
  ~Session();

  const std::string& peer_key() const { return tls_.peer_key(); }
  std::uint64_t bytes_in() const { return bytes_in_; }  // frames' bytes, without TLS
  std::uint64_t bytes_out() const { return bytes_out_; }
  std::size_t backlog() const { return backlog_; }  // bytes queued and not yet given to the kernel

  template <class M>
  void post(const M& message, std::string_view body = {}, Lane lane = Lane::small) {
    send(wire::kind_of<M>(), 0, 0, wire::pack(message), body, lane);
  }

  // Calls back once: with the reply, or with the peer's errno, or ENOTCONN when the link is lost.
  template <class M>
  void call(const M& request, std::string_view body,
            std::function<void(Result<typename M::Reply>, std::string_view body)> done,
            Lane lane = Lane::small) {
    const auto id = await([done = std::move(done)](int error, const Incoming& reply) {
      if (error != 0) return done(os_error("guest or home", error), {});
      auto fields = wire::unpack<typename M::Reply>(reply.meta);
      if (!fields) return done(os_error("malformed reply", EPROTO), {});
      done(std::move(fields), reply.body);
    });
    send(wire::kind_of<M>(), id, 0, wire::pack(request), body, lane);
  }

  template <class R>
  void reply(std::uint32_t id, const R& fields, std::string_view body = {}) {
    send(0, id, flag_reply, wire::pack(fields), body, Lane::small);
  }
  void fail(std::uint32_t id, int error);

  // Ends the link; `closed` is called with `why` (deferred).
  void close(const Error& why);

 private:
  static constexpr std::uint16_t flag_reply = 1;
  using Await = std::function<void(int error, const Incoming& reply)>;

  std::uint32_t await(Await done);
  void send(std::uint16_t kind, std::uint32_t id, std::uint16_t flags, std::string meta,
            std::string_view body, Lane lane);
  void on_poll(int events);
  void handshake();
  void read_all();
  void read_later();
  bool parse();
  bool deliver(std::uint32_t id, std::uint16_t kind, std::uint16_t flags, std::string_view meta,
               std::string_view body);
  void acknowledge();
  void flush();
  void schedule_flush();
  bool fill();
  void update_poll();
  void beat();

  Loop& loop_;
  TlsStream tls_;
  Events events_;
  std::unique_ptr<Poll> poll_;
  Timer heartbeat_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool established_ = false, closed_ = false, flush_scheduled_ = false;
  bool write_blocked_ = false, read_paused_ = false, pinging_ = false;

  std::string in_;  // received and not yet parsed: in_[parsed_ .. filled_)
  std::size_t parsed_ = 0, filled_ = 0;
  std::deque<std::string> small_, bulk_;
  std::string out_;  // being written
  std::size_t out_done_ = 0;
  std::size_t backlog_ = 0;
  std::uint64_t bytes_in_ = 0, bytes_out_ = 0;

  std::uint32_t next_id_ = 1;
  std::unordered_map<std::uint32_t, Await> waiting_;
  std::uint64_t sent_ = 0, taken_by_peer_ = 0, received_ = 0, acknowledged_ = 0;  // stream positions
  std::uint64_t last_heard_ = 0, last_sent_ = 0;                                  // loop time, ms
};

}  // namespace ssi
