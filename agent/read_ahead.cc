// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/read_ahead.h"

#include <algorithm>
#include <utility>

#include "common/wire.h"

namespace ssi {
namespace {

// Who has read so much in a row goes on, most likely; then the window doubles with each read.
constexpr std::uint64_t run_from = 256 << 10;
constexpr std::uint64_t first_ahead = 512 << 10;

}  // namespace

void ReadAhead::read(std::uint64_t offset, std::uint32_t size, std::uint64_t lease, std::uint64_t file_size,
                     const Fetch& fetch, Done done) {
  if (std::exchange(lease_, lease) != lease) pieces_.clear();
  if (offset != std::exchange(expected_, offset + size)) {
    run_ = ahead_ = 0;
    pieces_.clear();
  }
  run_ += size;
  std::erase_if(pieces_, [&](const PiecePtr& piece) { return piece->end() <= offset; });
  const auto pieces = covering(pieces_, offset, size);
  if (lease_ != 0 && run_ >= run_from) extend(file_size, fetch);
  if (pieces.empty()) return fetch(offset, size, std::move(done));
  deliver(pieces, offset, size, [offset, size, fetch, done = std::move(done)](int error, std::string_view bytes) {
    error ? fetch(offset, size, done) : done(0, bytes);  // he asks himself, and gets his own answer
  });
}

void ReadAhead::extend(std::uint64_t file_size, const Fetch& fetch) {
  ahead_ = std::clamp(2 * ahead_, first_ahead, window);
  const auto end = std::min(expected_ + ahead_, file_size);
  auto at = pieces_.empty() ? expected_ : pieces_.back()->end();
  // Not in drops: an answer to each small step would cost more than it brings.
  while (at < end && (end - at >= wire::max_body || end == file_size)) {
    auto piece = std::make_shared<Piece>();
    piece->offset = at;
    piece->size = wire::max_body;
    at = piece->end();
    pieces_.push_back(piece);
    fetch(piece->offset, piece->size, [piece](int error, std::string_view bytes) { piece->arrived(error, bytes); });
  }
}

}  // namespace ssi
