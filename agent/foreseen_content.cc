// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/foreseen_content.h"

#include <algorithm>
#include <utility>

#include "common/wire.h"

namespace ssi {

void ForeseenContent::expect(std::uint64_t node, std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t at = offset; at < offset + size; at += wire::max_body) {
    auto piece = std::make_shared<Piece>();
    piece->node = node;
    piece->offset = at;
    piece->size = static_cast<std::uint32_t>(std::min<std::uint64_t>(wire::max_body, offset + size - at));
    to_fetch_.push_back(std::move(piece));
  }
  fetch_some();
}

void ForeseenContent::fetch_some() {
  while (!to_fetch_.empty() && under_way_ < most_under_way && kept_ < most_kept) {
    const auto piece = std::move(to_fetch_.front());
    to_fetch_.pop_front();
    piece->lease = source_.lease(piece->node);
    if (piece->lease == 0) continue;
    pieces_[piece->node].push_back(piece);
    under_way_ += piece->size;
    kept_ += piece->size;
    source_.fetch(piece->node, piece->offset, piece->size, [weak = weak_from_this(), piece](int error, std::string_view bytes) {
      if (const auto self = weak.lock()) self->arrived(piece, error, bytes);
    });
  }
}

void ForeseenContent::arrived(const PiecePtr& piece, int error, std::string_view bytes) {
  piece->here = true;
  piece->error = error;
  piece->bytes.assign(bytes);
  under_way_ -= piece->size;
  for (const auto& next : std::exchange(piece->waiting, {})) next();
  if (error) drop(piece);
  fetch_some();
}

std::vector<ForeseenContent::PiecePtr> ForeseenContent::covering(std::uint64_t node, std::uint64_t offset,
                                                                 std::uint32_t size) {
  const auto known = pieces_.find(node);
  if (known == pieces_.end()) return {};
  const auto lease = source_.lease(node);
  if (known->second.front()->lease != lease) {
    forget(node);
    return {};
  }
  std::vector<PiecePtr> found;
  for (auto at = offset; at < offset + size;) {
    const auto next = std::find_if(known->second.begin(), known->second.end(), [&](const PiecePtr& piece) {
      return piece->lease == lease && !piece->error && piece->offset <= at && at < piece->offset + piece->size;
    });
    if (next == known->second.end()) return {};
    found.push_back(*next);
    at = (*next)->offset + (*next)->size;
    if ((*next)->here && (*next)->bytes.size() < (*next)->size) break;  // the end of the file
  }
  return found;
}

bool ForeseenContent::read(std::uint64_t node, std::uint64_t offset, std::uint32_t size, Done done) {
  const auto pieces = covering(node, offset, size);
  if (pieces.empty()) return false;
  deliver(pieces, offset, size, done);
  for (const auto& piece : pieces)
    if (piece->offset + piece->size <= offset + size) drop(piece);
  fetch_some();
  return true;
}

void ForeseenContent::deliver(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size,
                              const Done& done) {
  std::string bytes;
  for (const auto& piece : pieces) {
    if (!piece->here) {
      piece->waiting.push_back([pieces, offset, size, done] { deliver(pieces, offset, size, done); });
      return;
    }
    if (piece->error) return done(piece->error, {});
    const auto from = std::max(offset, piece->offset) - piece->offset;
    const auto to = std::min<std::uint64_t>(offset + size - piece->offset, piece->size);
    if (from < piece->bytes.size()) {
      const auto part = std::string_view(piece->bytes).substr(from, to - from);
      if (pieces.size() == 1) return done(0, part);
      bytes += part;
    }
    if (piece->bytes.size() < piece->size) break;
  }
  done(0, bytes);
}

void ForeseenContent::drop(const PiecePtr& piece) {
  const auto known = pieces_.find(piece->node);
  if (known == pieces_.end() || std::erase(known->second, piece) == 0) return;
  kept_ -= piece->size;
  if (known->second.empty()) pieces_.erase(known);
}

void ForeseenContent::forget(std::uint64_t node) {
  const auto known = pieces_.find(node);
  if (known == pieces_.end()) return;
  for (const auto& piece : known->second) kept_ -= piece->size;
  pieces_.erase(known);
}

}  // namespace ssi
