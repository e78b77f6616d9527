// SPDX-License-Identifier: LGPL-2.1-or-later
// Content that home expects to be read (wire::Foreseen): fetched in that order, some at a time, before anybody asks for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/piece.h"

namespace ssi {

class ForeseenContent : public std::enable_shared_from_this<ForeseenContent> {
 public:
  static constexpr std::uint64_t most_under_way = 4 << 20;  // bytes that are asked for and have not come
  static constexpr std::uint64_t most_kept = 256 << 20;     // bytes that nobody has read; then no more is fetched

  using Done = Piece::Done;
  struct Source {
    std::function<std::uint64_t(std::uint64_t node)> lease;  // Leases::number()
    std::function<bool(std::uint64_t node, std::uint64_t offset, std::uint64_t size)> is_stored;  // here already: not to be fetched
    std::function<void(std::uint64_t node, std::uint64_t offset, std::uint32_t size, Done done)> fetch;  // calls back later
  };
  explicit ForeseenContent(Source source) : source_(std::move(source)) {}

  void expect(std::uint64_t node, std::uint64_t offset, std::uint64_t size);

  // True: `done` is, or will be, called with the bytes, or with an error, upon which home is to be asked. What was read is kept no
  // longer: the kernel has it.
  bool read(std::uint64_t node, std::uint64_t offset, std::uint32_t size, Done done);

  void forget(std::uint64_t node);
  std::uint64_t kept() const { return kept_; }

 private:
  struct Range {
    std::uint64_t node = 0;
    PiecePtr piece;
  };
  struct Known {  // of a file, under one lease: asked for, or here
    std::uint64_t lease = 0;
    std::vector<PiecePtr> pieces;
  };

  void fetch_some();
  void arrived(const Range& range, int error);
  void drop(const Range& range);

  Source source_;
  std::deque<Range> to_fetch_;
  std::unordered_map<std::uint64_t, Known> known_;  // by node
  std::uint64_t under_way_ = 0, kept_ = 0;
};

}  // namespace ssi
