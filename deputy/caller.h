// SPDX-License-Identifier: LGPL-2.1-or-later
// One ssirun at the deputy's socket: what it asks for, its descriptors, its signals, and the answers to it.
#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/handover.h"
#include "common/loop.h"
#include "common/result.h"

namespace ssi {

// One of the caller's descriptors.
struct PassedFd {
  std::uint32_t number = 0;  // there
  bool terminal = false;
  Fd fd;
};

// HANDOVER_RUN as C++.
struct RunRequest {
  handover_run fields{};
  std::string path, cwd, guest, config_file, scheduler;
  std::string arguments, environment;  // strings ended by NUL
  std::vector<PassedFd> descriptors;   // ascending
  Fd channel;                          // of the caller's terminal, if some of them are that
  bool lost_descriptors = false;       // there was no room for all: the list is empty

  std::array<int, 3> stdio() const;  // our descriptors for 0, 1, 2; -1: closed at the caller
  bool has(handover_flag flag) const { return fields.flags & flag; }
  std::string command() const;       // basename of the path
  std::string command_line() const;  // for people: in one line of bounded length
  std::vector<std::string> argv() const;
  std::vector<std::string> variables() const;  // of the environment: NAME=VALUE

  // From the bytes that follow the header; `fds` as they came with it, not all of them when some are `lost`.
  static Result<RunRequest> parse(std::string_view bytes, std::vector<Fd> fds, bool lost = false);

 private:
  Status take_descriptors(std::string_view& bytes, std::vector<Fd> fds);
};

class Caller {
 public:
  struct Events {
    std::function<void(RunRequest&&)> run;
    std::function<void(const handover_signal&)> signal;
    std::function<void(pid_t)> witness;  // the other process in the caller's group
    std::function<void(const handover_window&)> window;
    std::function<void()> hangup;
    std::function<void(bool)> foreground;
    std::function<bool(const handover_kill&)> kill;  // of another job; false: there is none of that number
    std::function<void()> gone;  // ssirun closed the socket: it ended. Destroy the Caller (deferred)
  };

  Caller(Loop& loop, Fd socket);
  void listen(Events events);
  Result<pid_t> pid() const;  // of ssirun, if it belongs to our user. Source: SO_PEERCRED

  // The answers; see common/handover.h. After home, exited, failed and placed nothing follows.
  void home(const std::string& reason,
            const std::vector<PassedFd>& descriptors = {});  // those that come back
  void warn(const std::string& line);
  void waiting(const std::string& line);
  void started(const std::string& guest);
  void exited(int wait_status, std::uint64_t taken, const std::string& typed_ahead, const std::string& line);
  void stopped(int number);
  void stderr_closed();
  void modes(const handover_modes& modes);
  void failed(const std::string& line);
  void placed(const std::string& line);

 private:
  void on_readable();
  bool take_messages();  // false: broken
  bool take(std::uint32_t kind, const std::string& message);
  bool has_room() const;
  void answer(handover_kind kind, std::string_view body, const std::vector<int>& fds = {});

  Fd socket_;
  Poll poll_;
  Events events_;
  std::string in_;
  std::vector<Fd> fds_;
  bool fds_lost_ = false;
  std::optional<handover_modes> modes_;  // that had no room yet
};

}  // namespace ssi
