// SPDX-License-Identifier: LGPL-2.1-or-later
// One job as the home process sees it: its streams, its signals, its end.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/guest_terminal.h"
#include "agent/inside.h"
#include "agent/job_input.h"
#include "agent/job_spec.h"
#include "agent/oom_kills.h"
#include "agent/stem_channel.h"
#include "common/fd.h"
#include "common/loop.h"
#include "common/pump.h"
#include "common/session.h"

namespace ssi {

class GuestJob {
 public:
  struct Events {
    std::function<void()> started;
    std::function<void(int error)> failed;  // an errno: the program never ran; destroy the job (deferred)
    std::function<void(std::uint64_t cpu_us, std::uint64_t memory)> used;  // by now, all its processes
    std::function<void()> before_output;  // what it did before it said something is to be told to home first
    // What its leader closed is to be told to home before its end is; and what the view knows of it is to be said.
    std::function<void(wire::Exited& how, std::function<void()> then)> before_exit;  // completes it; calls `then` once
    std::function<void()> gone;         // no process and no output of it is left; destroy the job (deferred)
  };

  // Asks the stem to start it.
  static Result<std::unique_ptr<GuestJob>> start(Loop& loop, Session& session, StemChannel& stem,
                                                 const JobSpec& spec, const std::string& hostname,
                                                 const std::string& domain, Events events);

  // Destroying it kills all its processes.
  ~GuestJob() { *alive_ = false; }

  bool data(std::uint8_t stream, std::string_view bytes);  // false: the peer broke the rules
  void credit(std::uint8_t stream, std::uint32_t bytes);
  void end(std::uint8_t stream);
  void signal(const wire::Signal& signal);
  void resize(const wire::WindowSize& window);
  void foreground(bool yes);
  bool ended() const { return ended_; }  // its leader has
  // What it had changed in this file is not at home. False: it has ended, and its caller heard nothing of it.
  bool spoiled(const std::string& path, int error);
  pid_t init() const {
    return init_;
  }  // its first process, in our pid namespace; 0: it has not said anything yet

 private:
  GuestJob(Loop& loop, Session& session, std::uint64_t id, Fd control, Events events);
  Result<Fd> make_stream(const wire::Descriptor& descriptor);
  void on_control();
  void started();
  void stopped(std::int32_t number);
  void take_terminal(Fd master);
  void leader_ended(const inside::FromInit& packet);
  void report_exit();
  void post_exit();
  void say_ends();
  void when_quiet();
  std::vector<wire::Position> positions() const;

  Loop& loop_;
  Session& session_;
  const std::uint64_t id_;
  Fd control_;
  Events events_;
  Poll poll_;
  pid_t init_ = 0;
  std::map<std::uint8_t, std::unique_ptr<JobInput>> inputs_;  // by stream
  std::unique_ptr<Sink> typed_;                               // into the terminal
  std::map<std::uint8_t, std::unique_ptr<Source>> outputs_;
  std::unique_ptr<GuestTerminal> terminal_;
  wire::Exited exited_;
  OomKills oom_kills_;  // since it was started
  bool background_ = false;
  std::int32_t stop_ = 0;  // that home is to hear of, behind what the terminal shows
  bool started_ = false, ended_ = false, reported_ = false, reporting_ = false;
  int draining_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
