// SPDX-License-Identifier: LGPL-2.1-or-later
// What one home's files held when they were read, kept in a directory of the guest for later sessions. A file here is named by the
// state in which home's file was; what is asked for is the state that home says it is in now, so nothing is served that home has
// not vouched for. It is sparse: what of it is here, lseek(2) tells (SEEK_DATA), so there is no index that could be wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/ranges.h"
#include "common/fd.h"
#include "common/loop.h"

namespace ssi {

class ContentStore : public std::enable_shared_from_this<ContentStore> {
 public:
  static constexpr std::uint64_t page = 4096;
  static constexpr std::uint64_t most_waiting = 16 << 20;  // bytes that are to be written; what comes then is not kept

  // A file of home's in one of its states.
  struct Key {
    std::uint64_t fs = 0, ino = 0;  // fs: wire::Mount.identity
    std::uint64_t size = 0;         // bytes
    std::int64_t mtime = 0, ctime = 0;  // ns since the epoch
    bool operator==(const Key&) const = default;
  };
  static std::string name_of(const Key& key);

  // `directory` is ours alone as long as we hold it, which is agent/store_room.h's to see to. At most `limit` bytes are kept: what was
  // used longest ago goes. What lies there is known a moment later.
  static std::shared_ptr<ContentStore> open(Loop& loop, Fd directory, std::uint64_t limit);
  ContentStore(Loop& loop, Fd directory, std::uint64_t limit);

  // Whether all of this is here, as far as the file goes.
  bool has(const Key& key, std::uint64_t offset, std::uint64_t size) const;

  // The bytes, fewer than `size` only at the file's end; `done` is called at once or later, with an errno if they cannot be read after
  // all. False: they are not here.
  using Done = std::function<void(int error, std::string_view bytes)>;
  bool read(const Key& key, std::uint64_t offset, std::uint32_t size, Done done);

  // Whole pages of it are kept, and what is less at the file's end; of one file at most half of the room.
  void put(const Key& key, std::uint64_t offset, std::string_view bytes);

  std::uint64_t used() const { return used_; }  // bytes, in pages

 private:
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Kept {
    Ranges here;
    std::list<Key>::iterator place;  // in recent_
    bool used = false;               // in this session, so that its time says so
  };
  struct Piece {
    Key key;
    std::uint64_t offset = 0;
    std::string bytes;
    int error = 0;
  };
  struct Found {
    Key key;
    Ranges here;
    std::int64_t when = 0;  // it was used, ns since the epoch
  };

  void load();
  Kept& kept(const Key& key);
  void write_waiting();
  void written(const std::vector<Piece>& pieces);
  void make_room();
  void drop(const Key& key);
  void use(const Key& key, Kept& file);

  Loop& loop_;
  std::shared_ptr<const Fd> directory_;
  std::uint64_t limit_, used_ = 0;
  bool in_memory_ = false;  // a tmpfs: reading does not wait
  std::unordered_map<Key, Kept, KeyHash> files_;
  std::list<Key> recent_;  // used last first
  std::vector<Piece> to_write_;
  std::uint64_t waiting_ = 0;  // bytes of to_write_ and of what is being written
  bool writing_ = false;       // or looking what is there: one thread at a time
};

}  // namespace ssi
