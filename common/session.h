// SPDX-License-Identifier: LGPL-2.1-or-later
// The link between one deputy and one agent: frames (common/connection.h), both ends pinned by their keys.
//
// Frames of the small lane overtake those of the bulk lane; within a lane the order is kept. Every frame but Taken, Resume
// and Over has a position, counted from 1 in each direction in the order in which they are sent; the receiver acknowledges it.
//
// **A session outlives its connection** once both ends have called endure(): what the peer does not have yet is kept, the home
// connects again, each end says which position it has (wire::Resume), and the frames behind it go again. So each frame arrives
// exactly once, and who uses the session notices nothing but the time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/connection.h"
#include "common/fd.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/outbox.h"
#include "common/tls.h"
#include "common/wire.h"

namespace ssi {

// The process must ignore SIGPIPE.
class Session {
 public:
  using Lane = Outbox::Lane;

  // A frame that arrived. The views are valid until the callback returns.
  struct Incoming {
    std::uint16_t kind = 0;  // index in wire::Frame
    std::uint32_t id = 0;    // of a request: for reply() and fail()
    std::string_view meta, body;
  };

  // All are called from the loop. Inside any of them the session may be destroyed only by Loop::defer.
  struct Events {
    std::function<void()> ready;                 // the first handshake is done; peer_key() is authenticated
    std::function<void(const Incoming&)> frame;  // a request or a one-way frame
    std::function<void(const Error&)> closed;    // the session is over; called once, nothing follows
  };

  // How it outlives its connection.
  struct Endurance {
    wire::Bytes id;              // of the session, the same at both ends: says which one it is, proves nothing
    std::uint64_t grace_ms = 0;  // without a connection; then it is closed
    // Home's side: have a connection made and give it to resume(), soon or never: asked again until there is one.
    std::function<void()> reconnect;
    std::function<void(const Error&)> broken;       // it has no connection now
    std::function<void(std::uint64_t ms)> resumed;  // it has one again, after so long
  };

  // `socket` is connected or connecting, and non-blocking. `peer` is the only Ed25519 key to accept; the guest's side
  // gives none and must judge peer_key() itself when ready.
  Session(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self, const std::string& peer,
          Events events);
  ~Session();  // says so to the peer, as well as that can be done at once

  const std::string& peer_key() const { return peer_; }

  void endure(Endurance how);
  void set_grace(std::uint64_t ms);  // of one that endures
  // A new connection for it; `preface` precedes TLS there. The peer must have the session's key and id, or it is dropped.
  void resume(Fd socket, std::string preface = {});
  void not_connected(const Error& why);  // home's side, instead of resume()
  bool connected() const { return link_ && link_->established() && !link_->closed(); }
  std::size_t kept() const { return outbox_.kept(); }  // bytes that the peer has not acknowledged
  // So much waits to be sent that it is the link which holds it up, one that is slower than its content can be compressed.
  bool link_is_slow() const;
  void acknowledge();  // what has come, now: after what the peer waits to know here; else that is done in time

  template <class M>
  void post(const M& message, std::string_view body = {}, Lane lane = Lane::small) {
    send(wire::kind_of<M>(), 0, 0, wire::pack(message), body, lane);
  }

  // Calls back once: with the reply, or with the peer's errno, or ENOTCONN when the session is over.
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

  // Ends the session; `closed` is called with `why` (deferred).
  void close(const Error& why);

 private:
  static constexpr std::uint16_t flag_reply = 1;
  using Await = std::function<void(int error, const Incoming& reply)>;

  // A connection, and which one it is in its callbacks.
  struct Link {
    std::unique_ptr<Connection> connection;
    std::uint64_t number = 0;
    Connection* operator->() const { return connection.get(); }
    explicit operator bool() const { return connection != nullptr; }
  };
  Link connect(Fd socket, std::string preface);
  void drop(Link& link);
  std::uint32_t await(Await done);
  void send(std::uint16_t kind, std::uint32_t id, std::uint16_t flags, std::string meta,
            std::string_view body, Lane lane);
  bool take(const Connection::Frame& frame);
  bool take_unnumbered(const Connection::Frame& frame);
  bool deliver(const Connection::Frame& frame);
  bool take_candidate(const Connection::Frame& frame);
  void lost(const Error& why);
  void candidate_ready();
  void candidate_lost(const Error& why);
  void go_on();
  void ask_for_connection(std::uint64_t after_ms);
  void beat();

  Loop& loop_;
  const TlsStream::Side side_;
  const Identity& self_;
  std::string peer_;
  Events events_;
  Outbox outbox_;
  Link link_;
  Timer heartbeat_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool closed_ = false, pinging_ = false, was_asked_ = false;
  std::uint64_t connections_ = 0;

  std::uint32_t next_id_ = 1;
  std::unordered_map<std::uint32_t, Await> waiting_;
  std::uint64_t received_ = 0, acknowledged_ = 0;  // stream positions
  std::size_t unacknowledged_bytes_ = 0;
  std::uint64_t beat_at_ = 0;  // CLOCK_BOOTTIME, ms

  std::unique_ptr<Endurance> endurance_;
  Link candidate_;  // said to be of the same session, and not yet believed
  std::string candidate_out_;
  std::uint64_t attempt_ = 0;                    // the number of the connection: an older one is not taken any more
  std::uint64_t broken_at_ = 0, give_up_at_ = 0;  // loop time, ms; 0: it is not broken
  bool extended_ = false;
  bool peer_closed_ = false;         // its kernel ended the connection
  std::uint64_t refused_since_ = 0;  // loop time, ms, since which nothing is there to connect to; 0: not so
  std::uint64_t retry_ms_ = 0;
  Timer retry_;
};

}  // namespace ssi
