// SPDX-License-Identifier: LGPL-2.1-or-later
// One ssirun at the deputy's socket: what it asks for, its descriptors, its signals, and the answers to it.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/handover.h"
#include "common/loop.h"
#include "common/result.h"

namespace ssi {

// HANDOVER_RUN as C++.
struct RunRequest {
  handover_run fields{};
  std::string path, cwd, guest, config_file, scheduler;
  std::string arguments, environment;  // strings ended by NUL
  std::array<Fd, 3> stdio;             // empty: closed at the caller

  bool has(handover_flag flag) const { return fields.flags & flag; }
  std::string command() const;       // basename of the path
  std::string command_line() const;  // for people: in one line of bounded length
  std::vector<std::string> argv() const;
  std::vector<std::string> variables() const;  // of the environment: NAME=VALUE

  // From the bytes that follow the header; `fds` in ascending order of their numbers at the caller.
  static Result<RunRequest> parse(std::string_view bytes, std::vector<Fd> fds);
};

class Caller {
 public:
  struct Events {
    std::function<void(RunRequest&&)> run;
    std::function<void(int number)> signal;
    std::function<void()> gone;  // ssirun closed the socket: it ended. Destroy the Caller (deferred)
  };

  Caller(Loop& loop, Fd socket);
  void listen(Events events);
  Result<pid_t> pid() const;  // of ssirun, if it belongs to our user. Source: SO_PEERCRED

  // The answers; see common/handover.h. After home, exited, failed and placed nothing follows.
  void home(const std::string& reason, const std::array<Fd, 3>& stdio);
  void warn(const std::string& line);
  void started(const std::string& guest);
  void exited(int wait_status, const std::string& line);
  void failed(const std::string& line);
  void placed(const std::string& line);

 private:
  void on_readable();
  bool take_messages();  // false: broken
  void answer(handover_kind kind, std::string_view body, const std::vector<int>& fds = {});

  Fd socket_;
  Poll poll_;
  Events events_;
  std::string in_;
  std::vector<Fd> fds_;
};

}  // namespace ssi
