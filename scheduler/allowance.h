// SPDX-License-Identifier: LGPL-2.1-or-later
// So much a second, and no more than so much at once (a token bucket): for what strangers may make us do. Pure; times
// are in ms of any clock that does not jump.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ssi {

class Allowance {
 public:
  Allowance(double a_second, double at_once) : a_second_(a_second), at_once_(at_once), left_(at_once) {}

  // True, and one less is left, while something is.
  bool take(std::int64_t now) {
    left_ = std::min(at_once_, left_ + static_cast<double>(now - asked_) / 1000 * a_second_);
    asked_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double a_second_, at_once_, left_;
  std::int64_t asked_ = 0;
};

}  // namespace ssi
