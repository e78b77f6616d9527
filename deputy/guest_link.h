// SPDX-License-Identifier: LGPL-2.1-or-later
// The deputy's session with one guest: dialled at the first job, kept between jobs. Serves home's files on it and carries
// the jobs' frames.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/identity.h"
#include "common/loop.h"
#include "common/session.h"
#include "common/wire.h"
#include "deputy/effects.h"
#include "deputy/export_policy.h"
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
    std::function<void(const Error&)> lost;               // the link is gone; nothing follows
  };

  // `placed` admits us: address, pinned key, ticket, epoch. `closed` is called once when the link is lost; destroy the
  // link then (deferred).
  static Result<std::unique_ptr<GuestLink>> dial(Loop& loop, const Identity& self, const wire::Placed& placed,
                                                 Effects& effects, ExportPolicy& policy,
                                                 std::function<void()> closed);

  // The same, when the guest connects to us: `expect` is given what takes its connection.
  using Expect = std::function<void(std::function<void(Fd)> connected)>;
  static std::unique_ptr<GuestLink> await(Loop& loop, const Identity& self, const wire::Placed& placed,
                                          Effects& effects, ExportPolicy& policy,
                                          std::function<void()> closed, const Expect& expect);
  ~GuestLink();

  const std::string& guest() const { return guest_; }
  bool open() const { return state_ == State::open; }
  bool was_called() const { return session_ != nullptr; }  // of one that was awaited: the guest has connected

  // Home has unmounted, replaced or remounted a file system that this session shows. The guest cannot let go of it, so the session
  // should end, and another begin, when no job uses it.
  bool outdated();

  // Calls back once when the session is open (at once if it is), or with why it cannot be.
  void when_open(std::function<void(Status)> f);

  // What the guest must know before a job starts: home's mounts, and what changed since it last saw it.
  void validate();

  void attach(std::uint64_t job, JobEvents events);
  void detach(std::uint64_t job);
  std::size_t jobs() const { return jobs_.size(); }
  Session& session() { return *session_; }
  const FileServer& files() const { return *files_; }
  FileServer& files() { return *files_; }

 private:
  enum class State { dialling, open, closed };
  GuestLink(Loop& loop, const wire::Placed& placed, std::function<void()> closed);
  void open_session(Fd socket, const Identity& self, const wire::Bytes& guest_key, Effects& effects);
  void greet();
  void take(const Session::Incoming& frame);
  void settle(const Status& status);
  void lost(const Error& why);
  void send_mounts();
  const JobEvents* find(std::uint64_t job) const;

  Loop& loop_;
  const std::string guest_;
  const wire::Bytes ticket_;
  const std::uint64_t epoch_;
  std::function<void()> closed_;
  State state_ = State::dialling;
  Error why_closed_;
  Timer patience_;
  ExportPolicy* policy_ = nullptr;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FileServer> files_;
  std::vector<std::function<void(Status)>> waiting_;
  std::map<std::uint64_t, JobEvents> jobs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::vector<wire::Mount> mounts_;  // that the guest was told of
  bool mounts_due_ = false;          // there are more by now
};

}  // namespace ssi
