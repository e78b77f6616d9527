// SPDX-License-Identifier: LGPL-2.1-or-later
// Answers a guest's file requests (wire.h, "The view") on home's files, with the user's rights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "common/loop.h"
#include "common/session.h"
#include "common/wire.h"
#include "deputy/description.h"
#include "deputy/effects.h"
#include "deputy/export_policy.h"
#include "deputy/profile.h"

namespace ssi {

class FileService;

class FileServer {
 public:
  // 0: a share of what the system allows.
  struct Limits {
    std::size_t descriptors = 0;  // that nodes may take
    std::size_t watches = 0;
  };

  // Raises the process's limit of open files.
  FileServer(Loop& loop, Session& session, Effects& effects, ExportPolicy& policy, Limits limits);
  FileServer(Loop& loop, Session& session, Effects& effects, ExportPolicy& policy)
      : FileServer(loop, session, effects, policy, Limits{}) {}
  // Changes that have not begun are dropped; one that a thread is at ends, and its reply is dropped.
  ~FileServer();
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

  // True when the frame was a file request or notice, which is replied to now or later.
  bool handle(const Session::Incoming& frame);

  wire::Mounts mounts();  // home's exported file systems now, parents first
  bool mounts_changed();  // since the last mounts()

  // What a guest may still believe and is not true any more. At a job's start: whatever home changed before,
  // it sees.
  wire::Invalidate stale();
  void tell_stale();

  // The same of what was heard of lately, sent at once. Before the guest is told anything that may speak of it.
  void tell_news();

  // Calls `f` when what the guest has asked to be changed by now is changed: at once, or from the loop, in the order of the calls.
  void when_changed(std::function<void()> f);
  bool is_changing() const;  // that would not be at once

  std::uint64_t changes() const;        // of home's files that the guest asked for
  std::uint64_t bytes_read() const;     // served to the guest
  std::uint64_t bytes_written() const;  // by the guest

  // A description that one handle of the guest's may come to stand for (wire::Adopt), for as long as its owner keeps it.
  void offer(std::uint64_t token, const std::shared_ptr<Description>& description);

  const void* session() const { return service_.get(); }  // tells it from others

  // What a job looks up and reads is written down from now on, until it is asked for. What its guest knows by itself is not seen.
  void begin(std::uint64_t job);  // before it starts
  Profile recorded(std::uint64_t job);
  bool knows(const std::string& path) const;  // the guest's jobs have read of this file
  // The guest is told of these files, as far as it does not know them. Before a job starts.
  void foresee(const Profile& profile);

  // Opens what the job will run to begin with (deputy/lent_programs.h), until started() says that it has, or has not.
  std::vector<wire::Lent> lend(std::uint64_t job, const std::string& program, const wire::Caller& caller);
  void started(std::uint64_t job);

  void job_over(std::uint64_t job);
  void idle();  // no job runs: closes what is not open there, so that home can unmount its disks

 private:
  std::shared_ptr<FileService> service_;
};

}  // namespace ssi
