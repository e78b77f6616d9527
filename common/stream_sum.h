// SPDX-License-Identifier: LGPL-2.1-or-later
// What has passed through a stream: how many bytes, and a hash of them. Tells whether two ends saw the same, and whether a job
// that runs again says what it said before. Against accidents, not against an enemy.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace ssi {

class StreamSum {
 public:
  StreamSum();
  StreamSum(const StreamSum& other);
  StreamSum& operator=(const StreamSum& other);
  ~StreamSum();

  void add(std::string_view bytes);
  std::uint64_t bytes() const { return bytes_; }
  std::string digest() const;  // 16 bytes: XXH3, 128 bits

 private:
  XXH3_state_s* state_;
  std::uint64_t bytes_ = 0;
};

}  // namespace ssi
