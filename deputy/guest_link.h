// SPDX-License-Identifier: LGPL-2.1-or-later
// The deputy's session with one guest: dialled at the first job, kept between jobs. Serves home's files on it and carries
// the jobs' frames.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/identity.h"
#include "common/loop.h"
#include "common/session.h"
#include "common/wire.h"
#include "deputy/effects.h"
#include "deputy/export_policy.h"
#include "deputy/fence.h"
#include "deputy/file_server.h"

namespace ssi {

class GuestLink {
 public:
  // What a job on this link hears; called from the loop.
  struct JobEvents {
    std::function<void(std::uint8_t stream, std::string_view bytes)> data;
    std::function<void(std::uint8_t stream, std::uint32_t bytes)> credit;
    std::function<void(std::uint8_t stream)> end;
    std::function<void(const wire::Exited&)> exited;
    std::function<void(const wire::Stopped&)> stopped;  // or goes on
    std::function<void(const wire::Modes&)> modes;      // of its terminal
    std::function<void(const wire::Consumed&)> consumed;
    std::function<void(const std::string& reason)> needs_home;
    std::function<void(const std::string& line)> remark;  // for its user
    std::function<void()> gone;                           // no process of the job is left
    std::function<void(std::uint64_t ms)> resumed;        // the link was broken for so long
    std::function<void(const Error&)> lost;               // the link is gone; nothing follows
  };

  struct Events {
    std::function<void(const Fence::Target&)> begun;  // the session outlives its connection from now on
    std::function<void(const wire::Bytes& session)> over;  // that one
    std::function<void(const Fence::Target&)> given_up;    // before `closed`: the guest may still think that it goes on
    std::function<void()> closed;  // called once when it is lost; destroy the link then (deferred)
  };

  // `placed` admits us: address, pinned key, ticket, epoch. Without a connection the session is kept for `grace_ms`, and
  // then for as long as any of its jobs asks for.
  GuestLink(Loop& loop, const Identity& self, const wire::Placed& placed, Effects& effects,
            ExportPolicy& policy, std::uint64_t grace_ms, Events events);
  ~GuestLink();

  void dial();  // it listens

  // The guest connects to us: `expect` is given the session that is to be resumed (empty: a new one) and what takes the connection,
  // and has the guest called.
  using Expect = std::function<void(const wire::Bytes& session, std::function<void(Fd)> connected)>;
  void await(Expect expect);

  const std::string& guest() const { return placed_.guest; }
  bool open() const { return state_ == State::open; }
  bool was_called() const { return session_ != nullptr; }  // of one that was awaited: the guest has connected

  // Home has unmounted, replaced or remounted a file system that this session shows. The guest cannot let go of it, so the session
  // should end, and another begin, when no job uses it.
  bool outdated();

  // Calls back once when the session is open (at once if it is), or with why it cannot be.
  void when_open(std::function<void(Status)> f);

  // What the guest must know before a job starts: home's mounts, and what changed since it last saw it.
  void validate();

  void attach(std::uint64_t job, std::uint64_t grace_ms, JobEvents events);
  void detach(std::uint64_t job);
  std::size_t jobs() const { return jobs_.size(); }
  std::optional<std::uint64_t> a_job() const {
    return jobs_.empty() ? std::nullopt : std::optional(jobs_.rbegin()->first);
  }
  Session& session() { return *session_; }
  const FileServer& files() const { return *files_; }
  FileServer& files() { return *files_; }

 private:
  enum class State { dialling, open, closed };
  void open_session(Fd socket);
  void give_up_after(std::uint64_t ms);
  void greet();
  void endure(const wire::Bytes& session);
  void reconnect();
  void update_grace();
  Fence::Target target() const { return {placed_.address, placed_.guest_key, session_id_}; }
  void take(const Session::Incoming& frame);
  void take_words(const Session::Incoming& frame);
  void settle(const Status& status);
  void lost(const Error& why);
  void send_mounts();
  const JobEvents* find(std::uint64_t job) const;

  Loop& loop_;
  const Identity& self_;
  const wire::Placed placed_;
  Effects& effects_;
  ExportPolicy& policy_;
  std::uint64_t grace_ms_;
  Events events_;
  Expect expect_;       // null: we dial
  wire::Bytes session_id_;
  State state_ = State::dialling;
  Error why_closed_;
  Timer patience_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FileServer> files_;
  std::vector<std::function<void(Status)>> waiting_;
  struct Attached {
    std::uint64_t grace_ms;
    JobEvents events;
  };
  std::map<std::uint64_t, Attached> jobs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<wire::Mount> mounts_;  // that the guest was told of
  bool mounts_due_ = false;          // there are more by now
};

}  // namespace ssi
