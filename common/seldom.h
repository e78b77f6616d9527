// SPDX-License-Identifier: LGPL-2.1-or-later
// What goes on being wrong, or comes and goes, is said once a minute: a log must not be filled by a lack of something else.
#pragma once

#include <ctime>

namespace ssi {

class Seldom {
 public:
  bool is_due() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (said_ && now.tv_sec - last_ < 60) return false;
    said_ = true;
    last_ = now.tv_sec;
    return true;
  }

 private:
  bool said_ = false;
  time_t last_ = 0;
};

}  // namespace ssi
