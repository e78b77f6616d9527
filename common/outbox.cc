// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/outbox.h"

#include <numeric>
#include <utility>

namespace ssi {
namespace {

constexpr std::size_t batch_bytes = 64 << 10;  // small frames are coalesced up to this
constexpr std::size_t alone = 4 << 10;         // from this size on a frame is written from where it lies

}  // namespace

void Outbox::push(std::string frame, Lane lane) {
  unsent_ += frame.size();
  (lane == Lane::bulk ? bulk_ : small_).push_back(std::move(frame));
}

std::string_view Outbox::next() {
  if (current_.empty()) fill();
  return current_;
}

void Outbox::fill() {
  batch_.swap(unnumbered_);
  unnumbered_.clear();
  for (;;) {
    if (again_ == kept_.size()) {
      // All small ones first, then one of bulk.
      auto& lane = small_.empty() ? bulk_ : small_;
      if (lane.empty() || (&lane == &bulk_ && !batch_.empty())) break;
      kept_bytes_ += lane.front().size();
      kept_.push_back(std::move(lane.front()));
      lane.pop_front();
    }
    const auto& frame = kept_[again_];
    if (batch_.empty() && frame.size() >= alone) {
      ++again_;
      current_ = frame;
      return;
    }
    if (!batch_.empty() && batch_.size() + frame.size() > batch_bytes) break;
    batch_ += frame;
    ++again_;
  }
  current_ = batch_;
}

void Outbox::wrote(std::size_t bytes) {
  current_.remove_prefix(bytes);
  unsent_ -= bytes;
  if (current_.empty()) batch_.clear();
}

bool Outbox::taken(std::uint64_t position) {
  if (position > sent() || (position == sent() && batch_.empty() && !current_.empty())) return false;
  for (; taken_ < position; ++taken_, --again_) {
    kept_bytes_ -= kept_.front().size();
    kept_.pop_front();
  }
  return true;
}

bool Outbox::rewind(std::uint64_t position) {
  if (position < taken_ || position > sent()) return false;
  current_ = {};
  batch_.clear();
  unnumbered_.clear();  // was for the former connection
  for (; taken_ < position; ++taken_) {
    kept_bytes_ -= kept_.front().size();
    kept_.pop_front();
  }
  again_ = 0;
  const auto sum = [](const std::deque<std::string>& frames) {
    return std::accumulate(frames.begin(), frames.end(), std::size_t{0},
                           [](std::size_t bytes, const std::string& frame) { return bytes + frame.size(); });
  };
  unsent_ = sum(kept_) + sum(small_) + sum(bulk_);
  return true;
}

}  // namespace ssi
