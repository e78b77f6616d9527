// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/oom_score.h"

#include <fcntl.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <string>

#include "common/fd.h"

namespace ssi::oom_score {

bool set(int score) {
  const auto text = std::to_string(score);
  const Fd own(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  return ::write(own.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

void raise_job() {
  constexpr int above = 200;
  // Its files in /proc are the guest's root's as long as it is not dumpable. No job can name it: it is in another pid namespace.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  char text[16] = {};  // read plainly: a stream costs a new process a millisecond of page faults
  const Fd own(::open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
  (void)!::read(own.get(), text, sizeof text - 1);
  set(std::atoi(text) + above);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace ssi::oom_score
