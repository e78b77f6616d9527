// SPDX-License-Identifier: LGPL-2.1-or-later
// Enrolment tokens: who shows one is admitted as a guest, until it expires. Kept as files HASH.token in the
// admission directory, so that they outlive the scheduler; the tokens themselves are never written down.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

class Tokens {
 public:
  static constexpr std::uint32_t longest = 30 * 24 * 3600;  // seconds that a token may be asked to hold

  explicit Tokens(std::string directory) : directory_(std::move(directory)) {}

  // A new token, 32 hexadecimal digits. `now`: seconds since the epoch, here and below.
  Result<std::string> make(std::uint32_t seconds, std::int64_t now);

  // Good, or why not: "the token has expired", "the token is not one of this scheduler's".
  Status check(std::string_view token, std::int64_t now) const;

 private:
  void forget_old(std::int64_t now) const;

  std::string directory_;
};

}  // namespace ssi
