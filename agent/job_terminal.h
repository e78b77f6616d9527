// SPDX-License-Identifier: LGPL-2.1-or-later
// The terminal of a job, as its init sees it: the init is its session's leader, so that the job's leader may end and leave the
// terminal to who survives it.
#pragma once

#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "common/wire.h"

namespace ssi {

class JobTerminal {
 public:
  JobTerminal() = default;  // none

  // Opens one in the job's own /dev/pts and makes it the controlling terminal of this process, which leads a session.
  static Result<JobTerminal> open(const wire::Modes& modes, const wire::WindowSize& window);

  explicit operator bool() const { return static_cast<bool>(slave_); }
  int slave() const { return slave_.get(); }
  Fd take_master() { return std::move(master_); }

  void set_foreground(pid_t group) const;  // SIGTTOU blocked or ignored
  void put_into_background();              // until take_foreground(): who reads is stopped by SIGTTIN
  void take_foreground(pid_t group);       // the group that had it before, or `group`
  pid_t foreground() const;                // 0: there is none
  std::string unread() const;              // takes what was typed and not read. SIGTTIN, SIGTTOU blocked

 private:
  Fd master_, slave_;
  pid_t waiting_ = 0;  // that had the foreground, and is to have it again
};

}  // namespace ssi
