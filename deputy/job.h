// SPDX-License-Identifier: LGPL-2.1-or-later
// One diverted command, from ssirun's handover to its exit status. Its functions stand in the order in which a job lives:
// see docs/architecture.md, "A job's way".
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "common/config.h"
#include "common/loop.h"
#include "common/wire.h"
#include "deputy/caller.h"
#include "deputy/guest_link.h"
#include "deputy/job_record.h"
#include "deputy/job_streams.h"
#include "deputy/passed_files.h"
#include "deputy/schedulers.h"
#include "deputy/stop_watch.h"

namespace ssi {

class Deputy;

class Job {
 public:
  Job(Loop& loop, Deputy& deputy, Fd caller);
  ~Job();

  std::uint64_t runs() const {
    return state_ == State::running ? place_.job : 0;
  }                                            // its number; 0: it does not
  void signal(const handover_signal& signal);  // for the job

 private:
  enum class State { reading, placing, dialling, starting, running, undoing, settling, surviving, over };

  void take(RunRequest&& request);                     // 2. hand over
  Result<std::string> reason_for_home(const Config&);  //    "": none
  std::string take_descriptors();                      //    the same
  bool leave_jobserver();                              //    false: it cannot do without
  void obey(const Rule& rule);
  bool guest_is_wanted() const;         //    by who typed it
  std::string hidden_need() const;      //    "": it needs nothing that is hidden from guests
  std::string predicted_short() const;  //    "": it is not, or a guest is wanted all the same
  void place(const Config& config);     // 3. place
  void queued(std::uint32_t before);
  void placed(Result<wire::Placed> answer);
  void open_guest();
  void start();  // 4. validate, 5. run
  void foresee(std::function<void()> then);
  void run();
  void send_strings(const std::string& strings, std::uint8_t environment);
  wire::Start start_message();
  GuestLink::JobEvents events();
  void started(const Result<wire::Started>& answer);
  void stream_ended(std::uint8_t stream);
  std::uint8_t stderr_stream() const;
  void stderr_closed();
  void tell_stderr_closed();
  void watch_stops();
  void stopped(const wire::Stopped& how);
  void caller_goes_on();
  void end_stop();
  void exited(const wire::Exited& exited);  // 6. settle
  void report_exit();
  void gone();  //    surviving children have ended too
  struct Traffic {
    std::uint64_t in, out;
  };
  Traffic traffic() const;
  void tell_exit(const std::string& line, const Traffic& moved);
  std::string summary() const;

  void home(const std::string& reason);        // falls home, unless that is forbidden
  void fail(const std::string& line);          // exit status 125
  void remark(const std::string& line);        // for its user, on stderr
  void needs_home(const std::string& reason);  // the job met what only home has
  void recall();                               // it has ended for that
  void lost(const Error& why);
  void failed_by_guest(const std::string& what);
  void fail_not_again(const std::string& what, const std::string& why);
  std::string why_not_again() const;           // "": it can be rolled back and run once more
  void roll_back(const std::string& after, std::function<void()> then);
  void run_again(const std::string& after);    // elsewhere, else at home
  void go_home_again(const std::string& after);
  void output_differs();
  bool is_between_runs() const;
  bool ends_by(int signal) const;
  void end_by(int signal);  // nothing of it runs
  void kill();
  void caller_gone();
  void release_guest();  // gives back the reservation and the link
  void over();

  Loop& loop_;
  Deputy& deputy_;
  Caller caller_;
  Timer patience_;  // with --wait=SECONDS; later: before ssirun's stderr is closed
  RunRequest request_;
  State state_ = State::reading;
  bool never_home_ = false, prefers_guest_ = false, may_wait_ = false, waits_ = false;
  bool remarked_ = false;
  double min_seconds_ = 0;  // its rule's, or the default
  std::uint64_t grace_ms_ = 0, undo_bytes_ = 0;
  std::uint64_t broken_ms_ = 0;  // its guest's link, in all
  bool pipes_ = true;       // above fd 2 may go to a guest
  std::shared_ptr<JobRecord> record_;
  Schedulers* schedulers_ = nullptr;
  std::uint64_t question_ = 0;
  wire::Placed place_;
  std::shared_ptr<GuestLink> guest_;
  std::vector<PassedFd> withheld_;             // of the caller's: its make's jobserver
  std::vector<wire::Descriptor> descriptors_;  // what the others are in the guest
  PassedFiles files_;
  std::unique_ptr<JobStreams> streams_;
  std::unique_ptr<StopWatch> stop_watch_;
  pid_t witness_ = 0;
  bool job_stopped_ = false;
  Timer stopping_;  // the caller is told of it
  std::optional<std::uint64_t> told_stop_at_;  // loop time, ms: the caller is to stop too, and was not seen to
  bool caller_stopped_ = false, background_ = false, stderr_closed_ = false;
  bool gone_ = false;
  std::string needs_;                           // what it met that only home has
  JobStreams::Kept kept_;                       // of the run before
  std::vector<std::string> failed_it_;          // guests that did
  std::string again_after_;                     // what became of the run before; "": this is the first
  std::uint32_t retries_left_ = 0;
  bool out_of_memory_ = false;                  // once before
  std::vector<handover_signal> early_signals_;  // got before the job ran
  std::set<std::uint8_t> early_ends_;           // of streams, that came before the word of the start
  wire::Exited exited_;
  std::uint64_t began_ = 0;  // loop time, ms
  std::uint64_t served_before_ = 0, stored_before_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
