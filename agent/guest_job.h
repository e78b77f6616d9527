// SPDX-License-Identifier: LGPL-2.1-or-later
// One job as the home process sees it: its streams, its signals, its end.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/inside.h"
#include "agent/job_spec.h"
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
    std::function<void()> gone;  // no process and no output of it is left; destroy the job (deferred)
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
  void signal(std::int32_t number);

 private:
  GuestJob(Loop& loop, Session& session, std::uint64_t id, Fd control, Events events);
  void on_control();
  void leader_ended(const inside::FromInit& packet);
  void report_exit();
  void when_quiet();
  std::uint64_t stdin_taken() const;

  Session& session_;
  const std::uint64_t id_;
  Fd control_;
  Events events_;
  Poll poll_;
  std::unique_ptr<Sink> stdin_;
  // The read end, held when home's stdin is a file: what is in the pipe stays countable. (Of a pipe at home it must not
  // be held, or its writer would never get SIGPIPE.)
  Fd stdin_rest_;
  std::unique_ptr<Source> output_[2];  // stdout, stderr
  wire::Exited exited_;
  bool started_ = false, ended_ = false, reported_ = false;
  int draining_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
