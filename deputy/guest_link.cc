// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/guest_link.h"

#include <sys/utsname.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/tcp.h"

namespace ssi {
namespace {

// To connect, authenticate and be welcomed. One that dials out must first hear of it.
constexpr std::uint64_t dial_ms = 3'000, await_ms = 15'000;

// Mounts lists longer than one message's array limit are sent in pieces.
constexpr std::size_t batch = 500;

}  // namespace

GuestLink::GuestLink(Loop& loop, const Identity& self, const wire::Placed& placed, Effects& effects,
                     ExportPolicy& policy, std::uint64_t grace_ms, Events events)
    : loop_(loop),
      self_(self),
      placed_(placed),
      effects_(effects),
      policy_(policy),
      grace_ms_(grace_ms),
      events_(std::move(events)),
      patience_(loop) {}

GuestLink::~GuestLink() {
  *alive_ = false;
  if (state_ == State::open && !session_id_.empty()) events_.over(session_id_);
}

void GuestLink::dial() {
  auto socket = dial_tcp(placed_.address);
  if (!socket) return lost(socket.error());
  open_session(std::move(*socket));
  give_up_after(dial_ms);
}

void GuestLink::await(Expect expect) {
  expect_ = std::move(expect);
  expect_({}, [this, alive = alive_](Fd socket) {
    if (*alive && state_ == State::dialling) open_session(std::move(socket));
  });
  give_up_after(await_ms);
}

void GuestLink::give_up_after(std::uint64_t ms) {
  patience_.once(ms, [this] {
    const Error why{std::make_error_code(std::errc::timed_out),
                    (expect_ ? "wait for a call of " : "open a session with ") + guest()};
    if (session_)
      session_->close(why);
    else
      lost(why);
  });
}

void GuestLink::open_session(Fd socket) {
  session_ = std::make_unique<Session>(
      loop_, std::move(socket), TlsStream::Side::home, self_, placed_.guest_key,
      Session::Events{[this] { greet(); }, [this](const Session::Incoming& frame) { take(frame); },
                      [this](const Error& why) { lost(why); }});
  files_ = std::make_unique<FileServer>(loop_, *session_, effects_, policy_);
}

void GuestLink::greet() {
  wire::Hello hello;
  hello.ticket = placed_.ticket;
  hello.epoch = placed_.epoch;
  utsname names;
  ::uname(&names);
  hello.home = names.nodename;
  hello.domain = names.domainname;
  hello.uid = ::geteuid();
  hello.gid = ::getegid();
  hello.grace_ms = grace_ms_;
  session_->call(hello, {}, [this, alive = alive_](Result<wire::Welcome> welcome, std::string_view) {
    if (!*alive) return;
    patience_.stop();
    if (!welcome) return session_->close({welcome.error().code, guest() + " refused the session"});
    state_ = State::open;
    log::info("guest={} session open", guest());
    endure(welcome->session);
    settle({});
  });
}

// ------------------------------------------------------------------------------------ it outlives its connection

void GuestLink::endure(const wire::Bytes& session) {
  if (session.size() != wire::session_size) return;  // an agent of before
  session_id_ = session;
  if (!expect_) events_.begun(target());
  session_->endure({session,
                    grace_ms_,
                    [this] { reconnect(); },
                    [this](const Error& why) { log::warning("guest={} link broken: {}", guest(), why.text()); },
                    [this](std::uint64_t ms) {
                      log::info("guest={} session goes on after {} ms", guest(), ms);
                      for (const auto& [number, job] : jobs_) job.events.resumed(ms);
                    }});
}

void GuestLink::reconnect() {
  if (expect_)
    return expect_(session_id_, [this, alive = alive_](Fd socket) {
      if (*alive) session_->resume(std::move(socket));
    });
  auto socket = dial_tcp(placed_.address);
  if (!socket) return session_->not_connected(socket.error());
  session_->resume(std::move(*socket), wire::resume_mark + session_id_);
}

void GuestLink::update_grace() {
  std::uint64_t longest = 0;
  for (const auto& [number, job] : jobs_) longest = std::max(longest, job.grace_ms);
  if (session_id_.empty() || jobs_.empty() || longest == std::exchange(grace_ms_, longest)) return;
  session_->set_grace(longest);
  session_->post(wire::Grace{longest});
}

void GuestLink::settle(const Status& status) {
  const auto alive = alive_;
  for (const auto& f : std::exchange(waiting_, {})) {
    if (!*alive) return;
    f(status);
  }
}

void GuestLink::when_open(std::function<void(Status)> f) {
  if (state_ == State::open && !session_->connected())
    return f(tl::make_unexpected(Error{std::make_error_code(std::errc::timed_out), "its link is broken"}));
  if (state_ == State::open) return f({});
  if (state_ == State::closed) return f(tl::make_unexpected(why_closed_));
  waiting_.push_back(std::move(f));
}

void GuestLink::validate() {
  policy_.refresh_if_old();
  files_->tell_stale();
  // Behind the names: one that has become a mount point must not be taken for the directory that it was.
  if (mounts_.empty() || mounts_due_ || files_->mounts_changed()) send_mounts();
}

void GuestLink::send_mounts() {
  mounts_ = files_->mounts().mounts;
  mounts_due_ = false;
  for (std::size_t at = 0; at < mounts_.size(); at += batch) {
    const auto end = std::min(at + batch, mounts_.size());
    session_->post(wire::Mounts{{mounts_.begin() + static_cast<std::ptrdiff_t>(at),
                                 mounts_.begin() + static_cast<std::ptrdiff_t>(end)}});
  }
}

bool GuestLink::outdated() {
  if (!open() || mounts_.empty() || !files_->mounts_changed()) return false;
  const auto now = files_->mounts().mounts;
  const auto still_there = [&](const wire::Mount& shown) {
    return std::any_of(now.begin(), now.end(), [&](const wire::Mount& mount) {
      return mount.path == shown.path && mount.fs == shown.fs && mount.root == shown.root &&
             mount.read_only == shown.read_only;
    });
  };
  mounts_due_ = true;  // what is new: validate() sends it
  return !std::all_of(mounts_.begin(), mounts_.end(), still_there);
}

void GuestLink::attach(std::uint64_t job, std::uint64_t grace_ms, JobEvents events) {
  jobs_[job] = {grace_ms, std::move(events)};
  update_grace();
}

void GuestLink::detach(std::uint64_t job) {
  jobs_.erase(job);
  if (files_) {
    files_->recorded(job);  // of one that did not end well, for nobody
    files_->job_over(job);
  }
  if (state_ == State::open) update_grace();
  if (jobs_.empty() && state_ == State::open) files_->idle();
}

const GuestLink::JobEvents* GuestLink::find(std::uint64_t job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : &found->second.events;
}

void GuestLink::take(const Session::Incoming& frame) {
  // Only while a job of ours runs there is anything served; nothing hides from the root of the guest.
  if (!jobs_.empty() && files_->handle(frame)) return;
  if (!files_->is_changing()) return take_words(frame);
  // Whoever learns what a job says, and how it ended, finds the changes that it made before.
  files_->when_changed([this, alive = alive_, kind = frame.kind, id = frame.id, meta = std::string(frame.meta),
                        body = std::string(frame.body)] {
    if (*alive) take_words({kind, id, meta, body});
  });
}

void GuestLink::take_words(const Session::Incoming& frame) {
  auto message = wire::decode_frame(frame.kind, frame.meta);
  if (!message) return session_->close(message.error());
  if (const auto* data = std::get_if<wire::Data>(&*message)) {
    if (const auto* job = find(data->job)) job->data(data->stream, frame.body);
  } else if (const auto* credit = std::get_if<wire::Credit>(&*message)) {
    if (const auto* job = find(credit->job)) job->credit(credit->stream, credit->bytes);
  } else if (const auto* end = std::get_if<wire::End>(&*message)) {
    if (const auto* job = find(end->job)) job->end(end->stream);
  } else if (const auto* gone = std::get_if<wire::Gone>(&*message)) {
    session_->acknowledge();  // a guest that is to end waits for that
    if (const auto* job = find(gone->job)) job->gone();
  } else if (const auto* exited = std::get_if<wire::Exited>(&*message)) {
    session_->acknowledge();
    if (const auto* job = find(exited->job)) job->exited(*exited);
  } else if (const auto* stopped = std::get_if<wire::Stopped>(&*message)) {
    if (const auto* job = find(stopped->job)) job->stopped(*stopped);
  } else if (const auto* changed = std::get_if<wire::ModesChanged>(&*message)) {
    if (const auto* job = find(changed->job)) job->modes(changed->modes);
  } else if (const auto* consumed = std::get_if<wire::Consumed>(&*message)) {
    if (const auto* job = find(consumed->job)) job->consumed(*consumed);
  } else if (const auto* wants = std::get_if<wire::NeedsHome>(&*message)) {
    if (const auto* job = find(wants->job)) job->needs_home(wants->reason);
  } else if (const auto* remark = std::get_if<wire::Remark>(&*message)) {
    if (const auto* job = find(remark->job)) job->remark(remark->text);
  } else if (std::holds_alternative<wire::Forget>(*message) || std::holds_alternative<wire::Release>(*message) ||
             std::holds_alternative<wire::Visited>(*message)) {
    files_->handle(frame);  // of what an earlier job held
  } else if (frame.id != 0) {
    session_->fail(frame.id, EACCES);
  }
}

void GuestLink::lost(const Error& why) {
  const bool endured = !session_id_.empty();
  state_ = State::closed;
  why_closed_ = why;
  patience_.stop();
  log::info("guest={} session closed: {}", guest(), why.text());
  const auto alive = alive_;
  settle(tl::make_unexpected(why));
  if (!*alive) return;
  for (const auto& [number, job] : std::exchange(jobs_, {})) job.events.lost(why);
  if (!*alive) return;
  if (endured) events_.over(session_id_);
  const bool guest_knows = why.code == std::errc::connection_reset || why.code.value() == ESTALE;
  if (endured && !expect_ && !guest_knows) events_.given_up(target());
  events_.closed();
}

}  // namespace ssi
