// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads of one open file, ahead of who reads it strictly from front to back: the kernel's own window (128 KiB) is too small for
// a link on which a round trip takes milliseconds, and a larger one of the kernel's fetches what nobody reads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "agent/piece.h"

namespace ssi {

class ReadAhead : public std::enable_shared_from_this<ReadAhead> {
 public:
  static constexpr std::uint64_t window = 4 << 20;  // bytes that are asked for ahead

  // Asks home for so many bytes; calls back once, from the loop, with an errno or the bytes, fewer only at the end of the file.
  using Done = Piece::Done;
  using Fetch = std::function<void(std::uint64_t offset, std::uint32_t size, Done done)>;

  // Somebody reads. Nothing is asked for ahead unless the file is leased, by lease `number` (0: it is not), and then not beyond its
  // size; what was read under another lease is not used. `done` may be called at once.
  void read(std::uint64_t offset, std::uint32_t size, std::uint64_t lease, std::uint64_t file_size, const Fetch& fetch,
            Done done);

 private:
  void extend(std::uint64_t file_size, const Fetch& fetch);

  std::uint64_t lease_ = 0;
  std::uint64_t expected_ = 0;  // where the next read of who reads on begins
  std::uint64_t run_ = 0;       // bytes read one after the other
  std::uint64_t ahead_ = 0;     // how far to look
  std::vector<PiecePtr> pieces_;
};

}  // namespace ssi
