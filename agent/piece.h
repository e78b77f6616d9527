// SPDX-License-Identifier: LGPL-2.1-or-later
// A part of a file that was asked for before anybody reads it (agent/read_ahead.h, agent/foreseen_content.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ssi {

struct Piece {
  using Done = std::function<void(int error, std::string_view bytes)>;

  std::uint64_t offset = 0;
  std::uint32_t size = 0;  // asked for; fewer bytes come only at the end of the file
  bool here = false;
  int error = 0;
  std::string bytes;
  std::vector<std::function<void()>> waiting;

  std::uint64_t end() const { return offset + size; }
  bool is_short() const { return here && bytes.size() < size; }
  void arrived(int failed, std::string_view got);
};
using PiecePtr = std::shared_ptr<Piece>;

// Those of `pieces` in which so many bytes are or will be, in their order. Empty: not all of them.
std::vector<PiecePtr> covering(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size);

// Calls back with the bytes, now or when all of the pieces are here; or with the error of one of them.
void deliver(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size, const Piece::Done& done);

}  // namespace ssi
