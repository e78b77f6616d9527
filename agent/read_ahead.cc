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
  if (std::exchange(lease_, lease) != lease) chunks_.clear();
  if (offset != std::exchange(expected_, offset + size)) {
    run_ = ahead_ = 0;
    chunks_.clear();
  }
  run_ += size;
  while (!chunks_.empty() && chunks_.front()->offset + chunks_.front()->size <= offset) chunks_.pop_front();
  const auto chunks = covering(offset, size);
  if (lease_ != 0 && run_ >= run_from) extend(file_size, fetch);
  if (chunks.empty()) return fetch(offset, size, std::move(done));
  deliver(chunks, offset, size, fetch, done);
}

// Those in which the bytes are or will be. Empty: not all of them.
std::vector<ReadAhead::ChunkPtr> ReadAhead::covering(std::uint64_t offset, std::uint32_t size) const {
  std::vector<ChunkPtr> found;
  auto at = offset;
  for (const auto& chunk : chunks_) {
    if (at >= offset + size) break;
    if (chunk->offset > at) return {};
    if (at >= chunk->offset + chunk->size) continue;
    found.push_back(chunk);
    at = chunk->offset + chunk->size;
  }
  return at >= offset + size ? found : std::vector<ChunkPtr>();
}

void ReadAhead::extend(std::uint64_t file_size, const Fetch& fetch) {
  ahead_ = std::clamp(2 * ahead_, first_ahead, window);
  const auto end = std::min(expected_ + ahead_, file_size);
  auto at = chunks_.empty() ? expected_ : chunks_.back()->offset + chunks_.back()->size;
  // Not in drops: an answer to each small step would cost more than it brings.
  while (at < end && (end - at >= wire::max_body || end == file_size)) {
    auto chunk = std::make_shared<Chunk>();
    chunk->offset = at;
    chunk->size = wire::max_body;
    at += chunk->size;
    chunks_.push_back(chunk);
    fetch(chunk->offset, chunk->size, [chunk](int error, std::string_view bytes) {
      chunk->here = true;
      chunk->error = error;
      chunk->bytes.assign(bytes);
      for (const auto& next : std::exchange(chunk->waiting, {})) next();
    });
  }
}

void ReadAhead::deliver(const std::vector<ChunkPtr>& chunks, std::uint64_t offset, std::uint32_t size,
                        const Fetch& fetch, const Done& done) {
  for (const auto& chunk : chunks) {
    if (chunk->here) continue;
    chunk->waiting.push_back([chunks, offset, size, fetch, done] { deliver(chunks, offset, size, fetch, done); });
    return;
  }
  std::string bytes;
  for (const auto& chunk : chunks) {
    if (chunk->error) return fetch(offset, size, done);  // its own answer
    const auto from = std::max(offset, chunk->offset) - chunk->offset;
    const auto to = std::min<std::uint64_t>(offset + size - chunk->offset, chunk->size);
    if (from < chunk->bytes.size()) {
      const auto part = std::string_view(chunk->bytes).substr(from, to - from);
      if (chunks.size() == 1) return done(0, part);
      bytes += part;
    }
    if (chunk->bytes.size() < chunk->size) break;  // the end of the file
  }
  done(0, bytes);
}

}  // namespace ssi
