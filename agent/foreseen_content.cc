// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/foreseen_content.h"

#include <algorithm>
#include <utility>

#include "common/wire.h"

namespace ssi {

void ForeseenContent::expect(std::uint64_t node, std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t at = offset; at < offset + size; at += wire::max_body) {
    auto piece = std::make_shared<Piece>();
    piece->offset = at;
    piece->size = static_cast<std::uint32_t>(std::min<std::uint64_t>(wire::max_body, offset + size - at));
    to_fetch_.push_back({node, std::move(piece)});
  }
  fetch_some();
}

void ForeseenContent::fetch_some() {
  while (!to_fetch_.empty() && under_way_ < most_under_way && kept_ < most_kept) {
    const auto next = std::move(to_fetch_.front());
    to_fetch_.pop_front();
    const auto lease = source_.lease(next.node);
    if (lease == 0 || source_.is_stored(next.node, next.piece->offset, next.piece->size)) continue;
    if (const auto known = known_.find(next.node); known != known_.end() && known->second.lease != lease) forget(next.node);
    auto& known = known_[next.node];
    known.lease = lease;
    known.pieces.push_back(next.piece);
    under_way_ += next.piece->size;
    kept_ += next.piece->size;
    source_.fetch(next.node, next.piece->offset, next.piece->size,
                  [weak = weak_from_this(), next](int error, std::string_view bytes) {
                    next.piece->arrived(error, bytes);  // who waits for it does so also when we are gone
                    if (const auto self = weak.lock()) self->arrived(next, error);
                  });
  }
}

void ForeseenContent::arrived(const Range& range, int error) {
  under_way_ -= range.piece->size;
  if (error) drop(range);
  fetch_some();
}

bool ForeseenContent::read(std::uint64_t node, std::uint64_t offset, std::uint32_t size, Done done) {
  const auto known = known_.find(node);
  if (known == known_.end()) return false;
  if (known->second.lease != source_.lease(node)) {
    forget(node);
    return false;
  }
  const auto pieces = covering(known->second.pieces, offset, size);
  if (pieces.empty()) return false;
  for (const auto& piece : pieces)
    if (piece->end() <= offset + size) drop({node, piece});
  deliver(pieces, offset, size, done);
  fetch_some();
  return true;
}

void ForeseenContent::drop(const Range& range) {
  const auto known = known_.find(range.node);
  if (known == known_.end() || std::erase(known->second.pieces, range.piece) == 0) return;
  kept_ -= range.piece->size;
  if (known->second.pieces.empty()) known_.erase(known);
}

void ForeseenContent::forget(std::uint64_t node) {
  const auto known = known_.find(node);
  if (known == known_.end()) return;
  for (const auto& piece : known->second.pieces) kept_ -= piece->size;
  known_.erase(known);
}

}  // namespace ssi
