// SPDX-License-Identifier: LGPL-2.1-or-later
// One diverted command, from ssirun's handover to its exit status. Its functions stand in the order in which a job lives:
// see docs/architecture.md, "A job's way".
#pragma once

#include <array>
#include <memory>
#include <string>

#include "common/config.h"
#include "common/loop.h"
#include "common/pump.h"
#include "common/wire.h"
#include "deputy/caller.h"
#include "deputy/guest_link.h"
#include "deputy/job_record.h"
#include "deputy/scheduler_link.h"

namespace ssi {

class Deputy;

class Job {
 public:
  Job(Loop& loop, Deputy& deputy, Fd caller);
  ~Job();

 private:
  enum class State { reading, placing, dialling, starting, running, settling, surviving, over };

  void take(RunRequest&& request);                     // 2. hand over
  Result<std::string> reason_for_home(const Config&);  //    "": none
  void obey(const Rule& rule);
  std::string predicted_short() const;  //    "": it is not, or a guest is wanted all the same
  void place(const Config& config);     // 3. place
  void wait();
  void placed(Result<wire::Placed> answer);
  void open_guest();
  void start();  // 4. validate, 5. run
  void send_strings(const std::string& strings, std::uint8_t environment);
  wire::Start start_message();
  wire::StdioKind stdio_kind(std::size_t fd) const;
  void connect(std::uint8_t stream, Fd fd);
  void started(const Result<wire::Started>& answer);
  void connect_streams();
  void exited(const wire::Exited& exited);  // 6. settle
  void report_exit();
  void when_flushed(std::function<void()> f);
  void gone();  //    surviving children have ended too
  void rewind_stdin(std::uint64_t taken);
  struct Traffic {
    std::uint64_t in, out;
  };
  Traffic traffic() const;
  std::string summary() const;

  void home(const std::string& reason);  // falls home, unless that is forbidden
  void fail(const std::string& line);    // exit status 125
  void lost(const Error& why);
  void kill();
  void caller_gone();
  void release_guest();  // gives back the reservation and the link
  void over();

  Loop& loop_;
  Deputy& deputy_;
  Caller caller_;
  Timer patience_;  // with --wait=SECONDS
  RunRequest request_;
  State state_ = State::reading;
  bool never_home_ = false, prefers_guest_ = false, may_wait_ = false;
  double min_seconds_ = 0;  // its rule's, or the default
  std::shared_ptr<JobRecord> record_;
  SchedulerLink* scheduler_ = nullptr;
  std::uint64_t question_ = 0;
  wire::Placed place_;
  std::shared_ptr<GuestLink> guest_;
  std::array<wire::StdioKind, 3> stdio_{};
  std::unique_ptr<Source> stdin_;
  std::unique_ptr<Sink> output_[2];
  bool gone_ = false;
  std::vector<int> early_signals_;  // got before the job ran
  Fd stdin_file_;                   // a regular file as stdin: to set its offset at the end
  off_t stdin_start_ = 0;
  wire::Exited exited_;
  std::uint64_t began_ = 0;  // loop time, ms
  std::uint64_t served_before_ = 0, stored_before_ = 0, effects_before_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
