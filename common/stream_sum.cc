// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/stream_sum.h"

#include <xxhash.h>

#include <new>

namespace ssi {

StreamSum::StreamSum() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_);
}

StreamSum::StreamSum(const StreamSum& other) : StreamSum() {
  *this = other;
}

StreamSum& StreamSum::operator=(const StreamSum& other) {
  XXH3_copyState(state_, other.state_);
  bytes_ = other.bytes_;
  return *this;
}

StreamSum::~StreamSum() {
  XXH3_freeState(state_);
}

void StreamSum::add(std::string_view bytes) {
  XXH3_128bits_update(state_, bytes.data(), bytes.size());
  bytes_ += bytes.size();
}

std::string StreamSum::digest() const {
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(state_));
  return {reinterpret_cast<const char*>(digest.digest), sizeof digest.digest};
}

}  // namespace ssi
