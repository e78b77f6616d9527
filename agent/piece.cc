// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/piece.h"

#include <algorithm>
#include <utility>

namespace ssi {

void Piece::arrived(int failed, std::string_view got) {
  here = true;
  error = failed;
  bytes.assign(got);
  for (const auto& next : std::exchange(waiting, {})) next();
}

std::vector<PiecePtr> covering(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size) {
  std::vector<PiecePtr> found;
  for (auto at = offset; at < offset + size;) {
    const auto next = std::find_if(pieces.begin(), pieces.end(), [&](const PiecePtr& piece) {
      return !piece->error && piece->offset <= at && at < piece->end();
    });
    if (next == pieces.end()) return {};
    found.push_back(*next);
    at = (*next)->end();
    if ((*next)->is_short()) break;  // the end of the file
  }
  return found;
}

void deliver(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size, const Piece::Done& done) {
  for (const auto& piece : pieces) {
    if (piece->here) continue;
    piece->waiting.push_back([pieces, offset, size, done] { deliver(pieces, offset, size, done); });
    return;
  }
  std::string bytes;
  for (const auto& piece : pieces) {
    if (piece->error) return done(piece->error, {});
    const auto from = std::max(offset, piece->offset) - piece->offset;
    const auto to = std::min<std::uint64_t>(offset + size - piece->offset, piece->size);
    if (from < piece->bytes.size()) {
      const auto part = std::string_view(piece->bytes).substr(from, to - from);
      if (pieces.size() == 1) return done(0, part);
      bytes += part;
    }
    if (piece->is_short()) break;
  }
  done(0, bytes);
}

}  // namespace ssi
