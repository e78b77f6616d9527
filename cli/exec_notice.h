// SPDX-License-Identifier: LGPL-2.1-or-later
// One execve(2) or execveat(2) of which a seccomp filter tells us: it goes on as it is, or ssirun is executed in its
// place. Nothing is ever written into the task's memory: a vfork child shares it with its parent, whose threads run on.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <set>
#include <string>

#include "common/fd.h"
#include "common/result.h"

struct seccomp_notif;
struct seccomp_notif_resp;

namespace ssi {

class ExecNotices {
 public:
  // `runtime`: the runtime directory, for callers that have lost their environment.
  static Result<ExecNotices> create(std::set<std::string> names, const std::string& ssirun,
                                    std::string runtime);

  ExecNotices(ExecNotices&& other) noexcept;
  ~ExecNotices();

  // Takes one notice from the listener and answers it. It may have been withdrawn: then nothing happens.
  void answer(int listener);
  // From now on all go on as they are.
  void divert_nothing() { names_.clear(); }

 private:
  struct Call;
  ExecNotices(std::set<std::string> names, Fd ssirun, struct stat file, std::string runtime);
  std::optional<Call> read_call(int listener) const;
  bool is_wanted(const Call& call) const;
  bool divert(int listener, const Call& call);

  std::set<std::string> names_;
  Fd ssirun_;
  struct stat file_;
  std::string runtime_;
  std::set<pid_t> passed_;  // whose next call goes on as it is
  seccomp_notif* notice_ = nullptr;
  seccomp_notif_resp* answer_ = nullptr;
};

// The filter, of which this process is the first; the listener. `is_listened`: there is one from further up already,
// and a second one is not possible.
Result<Fd> install_exec_filter(bool& is_listened);

}  // namespace ssi
