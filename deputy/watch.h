// SPDX-License-Identifier: LGPL-2.1-or-later
// Hears by inotify(7) of changes to home's files, for those that a guest believes something of, by the numbers of their
// nodes. A directory also tells of the names in it. What was seen of a file counts only if it was heard of before.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/fd.h"
#include "common/loop.h"
#include "common/seldom.h"

namespace ssi {

class Watch {
 public:
  // Watches at most `most` files (0: a share of what the kernel allows this user). `ready`: there is news.
  Watch(Loop& loop, std::size_t most, std::function<void()> ready);

  enum class Heard { no, from_now, before };

  // Listens for changes of the file behind a descriptor (O_PATH will do), and marks it as believed in. `no`: the kernel
  // refuses (no right to read it, too many), or too many are watched (see crowded_out()).
  Heard listen(std::uint64_t node, int fd);

  bool touch(std::uint64_t node);  // the same, if it is watched already

  // Whether it is open in the guest: then it is believed in for as long.
  void keep(std::uint64_t node, bool open);
  void drop(std::uint64_t node);

  struct News {
    std::uint64_t node;
    std::string_view name;   // in it; empty: the file itself
    std::uint32_t mask = 0;  // IN_*
  };

  // When one could not be watched lately for want of room: some that were marked long ago. They are no longer watched.
  std::vector<std::uint64_t> crowded_out();

  // Those that the kernel has ceased to watch: they are gone, or their file system is.
  std::vector<std::uint64_t> lost() { return std::exchange(lost_, {}); }

  // All that has happened since the last call. False: some of it is lost.
  bool drain(const std::function<void(const News&)>& take);

  void pause(bool yes);  // `ready` is not called meanwhile
  Fd end();              // watches nothing any more; the kernel takes its time to close what is returned
  bool ended() const { return !fd_; }
  std::size_t size() const { return watched_.size(); }

 private:
  struct Watched {
    int number = -1;         // the kernel's
    std::uint64_t when = 0;  // ms, that it was last believed in
    bool open = false;
    std::list<std::uint64_t>::iterator place;  // in recent_
  };
  Heard refused(const char* limit);
  void forget(std::unordered_map<std::uint64_t, Watched>::iterator watched);
  void take_event(int number, std::uint32_t mask, std::string_view name,
                  const std::function<void(const News&)>& take);

  Loop& loop_;
  std::size_t most_;
  bool crowded_ = false;
  std::vector<std::uint64_t> lost_;
  Seldom said_;
  std::function<void()> ready_;
  Fd fd_;
  std::unique_ptr<Poll> poll_;
  std::unordered_map<std::uint64_t, Watched> watched_;
  std::unordered_map<int, std::uint64_t> nodes_;  // by the kernel's number
  std::list<std::uint64_t> recent_;               // the one believed in last first
};

}  // namespace ssi
