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

GuestLink::GuestLink(Loop& loop, const wire::Placed& placed, std::function<void()> closed)
    : loop_(loop),
      guest_(placed.guest),
      ticket_(placed.ticket),
      epoch_(placed.epoch),
      closed_(std::move(closed)),
      patience_(loop) {}

GuestLink::~GuestLink() {
  *alive_ = false;
}

Result<std::unique_ptr<GuestLink>> GuestLink::dial(Loop& loop, const Identity& self,
                                                   const wire::Placed& placed, Effects& effects,
                                                   ExportPolicy& policy, std::function<void()> closed) {
  auto socket = dial_tcp(placed.address);
  if (!socket) return tl::make_unexpected(socket.error());
  std::unique_ptr<GuestLink> link(new GuestLink(loop, placed, std::move(closed)));
  auto* raw = link.get();
  raw->policy_ = &policy;
  raw->open_session(std::move(*socket), self, placed.guest_key, effects);
  raw->patience_.once(dial_ms, [raw] {
    raw->session_->close(
        {std::error_code(ETIMEDOUT, std::generic_category()), "open a session with " + raw->guest_});
  });
  return link;
}

std::unique_ptr<GuestLink> GuestLink::await(Loop& loop, const Identity& self, const wire::Placed& placed,
                                            Effects& effects, ExportPolicy& policy,
                                            std::function<void()> closed, const Expect& expect) {
  std::unique_ptr<GuestLink> link(new GuestLink(loop, placed, std::move(closed)));
  auto* raw = link.get();
  raw->policy_ = &policy;
  expect([raw, alive = raw->alive_, &self, &effects, key = placed.guest_key](Fd socket) {
    if (*alive && raw->state_ == State::dialling) raw->open_session(std::move(socket), self, key, effects);
  });
  raw->patience_.once(await_ms, [raw] {
    const Error why{std::error_code(ETIMEDOUT, std::generic_category()), "wait for a call of " + raw->guest_};
    if (raw->session_)
      raw->session_->close(why);
    else
      raw->lost(why);
  });
  return link;
}

void GuestLink::open_session(Fd socket, const Identity& self, const wire::Bytes& guest_key,
                             Effects& effects) {
  session_ = std::make_unique<Session>(
      loop_, std::move(socket), TlsStream::Side::home, self, guest_key,
      Session::Events{[this] { greet(); }, [this](const Session::Incoming& frame) { take(frame); },
                      [this](const Error& why) { lost(why); }});
  files_ = std::make_unique<FileServer>(loop_, *session_, effects, *policy_);
}

void GuestLink::greet() {
  wire::Hello hello;
  hello.ticket = ticket_;
  hello.epoch = epoch_;
  utsname names;
  ::uname(&names);
  hello.home = names.nodename;
  hello.domain = names.domainname;
  hello.uid = ::geteuid();
  hello.gid = ::getegid();
  session_->call(hello, {}, [this, alive = alive_](Result<wire::Welcome> welcome, std::string_view) {
    if (!*alive) return;
    patience_.stop();
    if (!welcome) return session_->close({welcome.error().code, guest_ + " refused the session"});
    state_ = State::open;
    log::info("guest={} session open", guest_);
    settle({});
  });
}

void GuestLink::settle(const Status& status) {
  const auto alive = alive_;
  for (const auto& f : std::exchange(waiting_, {})) {
    if (!*alive) return;
    f(status);
  }
}

void GuestLink::when_open(std::function<void(Status)> f) {
  if (state_ == State::open) return f({});
  if (state_ == State::closed) return f(tl::make_unexpected(why_closed_));
  waiting_.push_back(std::move(f));
}

void GuestLink::validate() {
  policy_->refresh_if_old();
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

void GuestLink::attach(std::uint64_t job, JobEvents events) {
  jobs_[job] = std::move(events);
}

void GuestLink::detach(std::uint64_t job) {
  jobs_.erase(job);
  if (jobs_.empty() && state_ == State::open) files_->idle();
}

const GuestLink::JobEvents* GuestLink::find(std::uint64_t job) const {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : &found->second;
}

void GuestLink::take(const Session::Incoming& frame) {
  // Only while a job of ours runs there is anything served; nothing hides from the root of the guest.
  if (!jobs_.empty() && files_->handle(frame)) return;
  auto message = wire::decode_frame(frame.kind, frame.meta);
  if (!message) return session_->close(message.error());
  if (const auto* data = std::get_if<wire::Data>(&*message)) {
    if (const auto* job = find(data->job)) job->data(data->stream, frame.body);
  } else if (const auto* credit = std::get_if<wire::Credit>(&*message)) {
    if (const auto* job = find(credit->job)) job->credit(credit->stream, credit->bytes);
  } else if (const auto* end = std::get_if<wire::End>(&*message)) {
    if (const auto* job = find(end->job)) job->end(end->stream);
  } else if (const auto* gone = std::get_if<wire::Gone>(&*message)) {
    if (const auto* job = find(gone->job)) job->gone();
  } else if (const auto* exited = std::get_if<wire::Exited>(&*message)) {
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
  } else if (std::holds_alternative<wire::Forget>(*message) ||
             std::holds_alternative<wire::Release>(*message)) {
    files_->handle(frame);  // gives back what an earlier job held
  } else if (frame.id != 0) {
    session_->fail(frame.id, EACCES);
  }
}

void GuestLink::lost(const Error& why) {
  state_ = State::closed;
  why_closed_ = why;
  patience_.stop();
  log::info("guest={} session closed: {}", guest_, why.text());
  const auto alive = alive_;
  settle(tl::make_unexpected(why));
  if (!*alive) return;
  for (const auto& [number, events] : std::exchange(jobs_, {})) events.lost(why);
  if (*alive) closed_();
}

}  // namespace ssi
