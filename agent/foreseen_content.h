// SPDX-License-Identifier: LGPL-2.1-or-later
// Content that home expects to be read (wire::Foreseen): fetched in that order, some at a time, before anybody asks for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ssi {

class ForeseenContent : public std::enable_shared_from_this<ForeseenContent> {
 public:
  static constexpr std::uint64_t most_under_way = 4 << 20;  // bytes that are asked for and have not come
  static constexpr std::uint64_t most_kept = 256 << 20;     // bytes that nobody has read; then no more is fetched

  using Done = std::function<void(int error, std::string_view bytes)>;
  struct Source {
    std::function<std::uint64_t(std::uint64_t node)> lease;  // Leases::number()
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
  struct Piece {
    std::uint64_t node = 0, offset = 0;
    std::uint32_t size = 0;
    std::uint64_t lease = 0;
    bool here = false;
    int error = 0;
    std::string bytes;
    std::vector<std::function<void()>> waiting;
  };
  using PiecePtr = std::shared_ptr<Piece>;

  void fetch_some();
  void arrived(const PiecePtr& piece, int error, std::string_view bytes);
  std::vector<PiecePtr> covering(std::uint64_t node, std::uint64_t offset, std::uint32_t size);
  static void deliver(const std::vector<PiecePtr>& pieces, std::uint64_t offset, std::uint32_t size, const Done& done);
  void drop(const PiecePtr& piece);

  Source source_;
  std::deque<PiecePtr> to_fetch_;
  std::unordered_map<std::uint64_t, std::vector<PiecePtr>> pieces_;  // by node; asked for, or here
  std::uint64_t under_way_ = 0, kept_ = 0;
};

}  // namespace ssi
