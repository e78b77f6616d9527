// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/session.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "common/link_state.h"

namespace ssi {
namespace {

constexpr std::size_t bulk_from = 4 << 10;         // bodies from this size take the bulk lane
constexpr std::uint64_t acknowledge_every = 64;    // frames
constexpr std::size_t acknowledge_from = 1 << 20;  // bytes
constexpr std::size_t max_kept = 256 << 20;        // bytes that were sent and not acknowledged
constexpr std::size_t held_up = 256 << 10;         // bytes that wait to be sent
constexpr std::uint64_t slow = 250 << 20;          // bytes a second; zstd makes about as many of them from one processor
constexpr std::size_t max_unsent = 16 << 20;       // bytes, from which on nothing more is read
constexpr std::uint64_t beat_ms = 2'000, silence_ms = 15'000;

// Home asks for a connection at once when one is lost, then with growing gaps; one must prove itself in `prove_ms`.
constexpr std::uint64_t first_retry_ms = 20, max_retry_ms = 1'000, prove_ms = 5'000;
// Whose kernel ended the connection, and at whose address nobody answers since, though it was heard that nobody listens: has died.
constexpr std::uint64_t dead_ms = 5'000;

std::uint64_t boot_ms() {
  timespec now;
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}


// A Resume that the peer answers with when it knows no such session.
const wire::Resume unknown{};

// Nobody is at that address: not a link that is cut.
bool is_refusal(const Error& why) {
  return why.code == std::errc::connection_refused || why.code == std::errc::host_unreachable ||
         why.code == std::errc::network_unreachable;
}

bool is_silence(const Error& why) {
  return why.code == std::errc::timed_out || is_refusal(why);
}

}  // namespace

Session::Session(Loop& loop, Fd socket, TlsStream::Side side, const Identity& self, const std::string& peer,
                 Events events)
    : loop_(loop),
      side_(side),
      self_(self),
      peer_(peer),
      events_(std::move(events)),
      heartbeat_(loop),
      beat_at_(boot_ms()),
      retry_(loop) {
  link_ = connect(std::move(socket), {});
  heartbeat_.every(beat_ms, [this] { beat(); });
  heartbeat_.unref();
}

Session::~Session() {
  *alive_ = false;
  if (endurance_ && connected()) link_->try_write(frame_of(wire::Over{endurance_->id}));
}

Session::Link Session::connect(Fd socket, std::string preface) {
  const auto number = ++connections_;
  // One that was dropped may call back until it is destroyed, and we may be gone by then.
  const auto is_link = [this, alive = alive_, number] { return *alive && link_.number == number; };
  const auto is_candidate = [this, alive = alive_, number] { return *alive && candidate_.number == number; };
  Connection::Events events{
      [=, this] {
        if (is_candidate()) return candidate_ready();
        if (!is_link()) return;
        peer_ = link_->peer_key();
        if (events_.ready) events_.ready();
      },
      [=, this](const Connection::Frame& frame) {
        return is_link() ? take(frame) : is_candidate() && take_candidate(frame);
      },
      [=, this] {
        return is_link() ? outbox_.next() : is_candidate() ? std::string_view(candidate_out_) : std::string_view();
      },
      [=, this](std::size_t bytes) {
        if (is_candidate()) return void(candidate_out_.erase(0, bytes));
        if (!is_link()) return;
        outbox_.wrote(bytes);
        if (outbox_.unsent() <= max_unsent) link_->pause(false);
      },
      [=, this](const Error& why) {
        if (is_link()) return lost(why);
        if (is_candidate()) candidate_lost(why);
      }};
  return {std::make_unique<Connection>(loop_, std::move(socket), side_, self_, peer_, std::move(preface),
                                       std::move(events)),
          number};
}

// Not at once: one of its callbacks may be running.
void Session::drop(Link& link) {
  if (link) loop_.defer([kept = std::shared_ptr<Connection>(std::move(link.connection))] {});
  link = {};
}

// ---------------------------------------------------------------------------------------------------- frames

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
  outbox_.push(frame_of(kind, id, flags, meta, body), body.size() >= bulk_from ? Lane::bulk : lane);
  if (link_) link_->flush_soon();
}

bool Session::take(const Connection::Frame& frame) {
  const auto alive = alive_;
  if (closed_) return false;
  // A peer that asks and does not read the answers gets no more of our memory.
  if (outbox_.unsent() > max_unsent) link_->pause(true);
  if (outbox_.kept() > max_kept) {
    close({std::error_code(EPROTO, std::generic_category()), "the peer acknowledges nothing"});
    return false;
  }
  const bool unnumbered = !(frame.header.flags & flag_reply) &&
                          (frame.header.kind == wire::kind_of<wire::Taken>() ||
                           frame.header.kind == wire::kind_of<wire::Resume>() ||
                           frame.header.kind == wire::kind_of<wire::Over>());
  if (!(unnumbered ? take_unnumbered(frame) : deliver(frame))) return false;
  return *alive && !closed_;
}

bool Session::take_unnumbered(const Connection::Frame& frame) {
  if (frame.header.kind == wire::kind_of<wire::Taken>()) {
    const auto taken = wire::unpack<wire::Taken>(frame.meta);
    if (taken && outbox_.taken(taken->position)) return true;
    close({std::error_code(EPROTO, std::generic_category()), "frames that were never sent are acknowledged"});
    return false;
  }
  if (frame.header.kind == wire::kind_of<wire::Over>()) {
    close({std::error_code(ECONNRESET, std::generic_category()), "the peer ended the session"});
    return false;
  }
  if (std::exchange(was_asked_, true) || endurance_) {
    close({std::error_code(EPROTO, std::generic_category()), "a session that is there is to be resumed"});
    return false;
  }
  // A home that looks for a session which another process had, and which ended with it.
  outbox_.push_unnumbered(frame_of(unknown));
  link_->flush_soon();
  return true;
}

bool Session::deliver(const Connection::Frame& frame) {
  const auto& header = frame.header;
  const Incoming incoming{header.kind, header.id, frame.meta, frame.body};
  ++received_;
  unacknowledged_bytes_ += frame.meta.size() + frame.body.size();
  if (received_ - acknowledged_ >= acknowledge_every || unacknowledged_bytes_ >= acknowledge_from) acknowledge();
  if (header.flags & flag_reply) {
    auto node = waiting_.extract(header.id);
    if (node) node.mapped()(header.kind, incoming);
  } else if (header.kind == wire::kind_of<wire::Ping>()) {
    reply(header.id, wire::None{});
  } else {
    events_.frame(incoming);
  }
  return true;
}

bool Session::link_is_slow() const {
  return connected() && outbox_.unsent() >= held_up && link_state(link_->socket()).rate < slow;
}

void Session::acknowledge() {
  acknowledged_ = received_;
  unacknowledged_bytes_ = 0;
  outbox_.push_unnumbered(frame_of(wire::Taken{received_}));
  if (link_) link_->flush_soon();
}

// ------------------------------------------------------------------------------------- life and death of the link

// One that was itself stopped, or slept, has not heard of its peer for that reason.
void Session::beat() {
  const auto now = uv_now(loop_.uv()), boot = boot_ms();
  const bool was_away = boot - std::exchange(beat_at_, boot) > beat_ms + dead_ms;
  if (!link_) {
    if (was_away && !std::exchange(extended_, true)) give_up_at_ = now + endurance_->grace_ms;
    if (now >= give_up_at_)
      close({std::error_code(ETIMEDOUT, std::generic_category()),
             "no connection for " + std::to_string((now - broken_at_) / 1000) + " s"});
    return;
  }
  if (was_away || link_->paused()) link_->hear();
  if (now - link_->last_heard() > silence_ms)
    return link_->close({std::error_code(ETIMEDOUT, std::generic_category()), "session"});
  if (!link_->established()) return;
  if (now - link_->last_heard() >= beat_ms && !std::exchange(pinging_, true))
    call(wire::Ping{}, {}, [this](const Result<wire::None>&, std::string_view) { pinging_ = false; });
  if (received_ != acknowledged_) acknowledge();
}

void Session::lost(const Error& why) {
  if (closed_) return;
  if (!endurance_) return close(why);
  drop(link_);
  broken_at_ = uv_now(loop_.uv());
  give_up_at_ = broken_at_ + endurance_->grace_ms;
  extended_ = false;
  peer_closed_ = !is_silence(why);
  refused_since_ = 0;
  retry_ms_ = first_retry_ms;
  if (endurance_->broken) endurance_->broken(why);
  if (!closed_ && !candidate_) ask_for_connection(0);
}

void Session::close(const Error& why) {
  if (closed_) return;
  closed_ = true;
  heartbeat_.stop();
  retry_.stop();
  if (endurance_ && connected()) link_->try_write(frame_of(wire::Over{endurance_->id}));
  loop_.defer([this, alive = alive_, why] {
    if (!*alive) return;
    drop(link_);
    drop(candidate_);
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& [id, done] : waiting) {
      done(ENOTCONN, {});
      if (!*alive) return;
    }
    if (events_.closed) events_.closed(why);
  });
}

// ---------------------------------------------------------------------------------------------------- resumption

void Session::endure(Endurance how) {
  endurance_ = std::make_unique<Endurance>(std::move(how));
}

void Session::set_grace(std::uint64_t ms) {
  if (!endurance_) return;
  if (!link_) give_up_at_ = give_up_at_ - endurance_->grace_ms + ms;
  endurance_->grace_ms = ms;
}

void Session::ask_for_connection(std::uint64_t after_ms) {
  if (!endurance_->reconnect) return;  // the home connects to us
  retry_.once(after_ms, [this] {
    if (peer_closed_ && refused_since_ != 0 && uv_now(loop_.uv()) - refused_since_ >= dead_ms)
      return close(os_error("nobody answers there any more", ECONNREFUSED).value());
    ask_for_connection(prove_ms);  // should nothing come of it
    drop(candidate_);
    endurance_->reconnect();
  });
}

void Session::not_connected(const Error& why) {
  candidate_lost(why);
}

void Session::resume(Fd socket, std::string preface) {
  if (closed_ || !endurance_) return;
  candidate_out_.clear();
  drop(candidate_);
  candidate_ = connect(std::move(socket), std::move(preface));
  if (side_ == TlsStream::Side::guest) retry_.once(prove_ms, [this] { drop(candidate_); });
}

void Session::candidate_ready() {
  if (side_ == TlsStream::Side::home)
    candidate_out_ += frame_of(wire::Resume{endurance_->id, ++attempt_, received_});
}

// The first frame of a new connection. True: it is the session's from now on.
bool Session::take_candidate(const Connection::Frame& frame) {
  const bool over = frame.header.kind == wire::kind_of<wire::Over>();
  const auto said = wire::unpack<wire::Resume>(frame.meta);
  if (over || frame.header.kind != wire::kind_of<wire::Resume>() || !said) {
    if (const auto word = wire::unpack<wire::Over>(frame.meta); over && word && word->session == endurance_->id)
      close({std::error_code(ESTALE, std::generic_category()), "home has given the session up"});
    else
      candidate_->close({std::error_code(EPROTO, std::generic_category()), "not what resumes a session"});
    return false;
  }
  if (said->session != endurance_->id && side_ == TlsStream::Side::guest) {
    candidate_out_ += frame_of(unknown);
    candidate_->flush_soon();
    return true;
  }
  if (said->session != endurance_->id) {
    close({std::error_code(ESTALE, std::generic_category()), "the guest has lost the session"});
    return false;
  }
  if (side_ == TlsStream::Side::guest && said->attempt <= attempt_) {
    candidate_->close({std::error_code(EPROTO, std::generic_category()), "an older connection"});
    return false;
  }
  if (!outbox_.rewind(said->received)) {
    close({std::error_code(EPROTO, std::generic_category()), "the peer has other frames than were sent"});
    return false;
  }
  if (side_ == TlsStream::Side::guest) {
    attempt_ = said->attempt;
    candidate_out_ += frame_of(wire::Resume{endurance_->id, attempt_, received_});
  }
  go_on();
  return !closed_;
}

// The candidate is the session's connection.
void Session::go_on() {
  retry_.stop();
  const bool was_connected = static_cast<bool>(link_);
  drop(link_);
  link_ = std::exchange(candidate_, {});
  outbox_.push_unnumbered(std::exchange(candidate_out_, {}));
  acknowledged_ = received_;
  unacknowledged_bytes_ = 0;
  const auto now = uv_now(loop_.uv());
  const auto since = was_connected ? now : broken_at_;
  link_->flush_soon();
  if (endurance_->resumed) endurance_->resumed(now - since);
}

void Session::candidate_lost(const Error& why) {
  drop(candidate_);
  if (closed_ || link_ || !endurance_) return;
  if (!is_silence(why))
    refused_since_ = 0;
  else if (is_refusal(why) && refused_since_ == 0)
    refused_since_ = uv_now(loop_.uv());
  ask_for_connection(retry_ms_);
  retry_ms_ = std::min(2 * retry_ms_, max_retry_ms);
}

}  // namespace ssi
