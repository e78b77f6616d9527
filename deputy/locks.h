// SPDX-License-Identifier: LGPL-2.1-or-later
// Locks that the jobs of one guest have on home's files, and wait for. They are home's own locks, so they hold
// against home's processes and every other guest. Who waits is tried again, with back-off, and at once when a
// lock is given up through this deputy: no thread waits. (So the kernel cannot see a deadlock: no EDEADLK.)
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "common/loop.h"
#include "common/wire.h"
#include "deputy/handles.h"
#include "deputy/lock_description.h"
#include "deputy/news.h"

namespace ssi {

class Locks : public std::enable_shared_from_this<Locks> {
 public:
  static std::shared_ptr<Locks> make(Loop& loop, Unlocks& unlocks);
  ~Locks();  // gives up all of them; who waits is not told

  // Who locks what: an owner, as the guest's kernel numbers them, through an open file.
  struct Place {
    std::shared_ptr<OpenFile> file;
    std::uint64_t handle = 0, owner = 0;
    bool is_wal_index = false;  // see deputy/wal_index.h
  };
  using Done = std::function<void(int error)>;  // called once

  // fcntl(2). get() finds what stands in the way (F_UNLCK: nothing). set() with `wait` 0 is done at once, or
  // EAGAIN; with another number it waits, until cancel(): EINTR.
  Answer<wire::LockRange> get(const Place& place, const wire::LockRange& range);
  void set(const Place& place, const wire::LockRange& range, std::uint64_t wait, Done done);
  void cancel(std::uint64_t wait);

  // flock(2), of the handle's own description.
  void flock(const std::shared_ptr<OpenFile>& file, std::uint64_t handle, int operation, std::uint64_t wait,
             Done done);

  void closed(std::uint64_t node, std::uint64_t owner);  // it closed a descriptor: its locks of the file end
  void released(std::uint64_t handle);                   // the last descriptor: OFD locks and flock end too

 private:
  struct Held {
    LockDescription description;
    std::set<std::uint64_t> handles;  // through which it was locked
    std::int32_t pid = 0;             // in the guest; 0: nobody's that we know
  };
  struct Waiter {
    std::uint64_t wait, handle;
    std::function<int()> attempt;
    Done done;
    std::uint64_t delay, due;  // ms; loop time
  };
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // node, owner

  Locks(Loop& loop, Unlocks& unlocks) : loop_(loop), unlocks_(unlocks), timer_(loop) {}
  Answer<Held*> hold(const Place& place, int type);
  int set_now(const Place& place, const wire::LockRange& range);
  int set_user(const Place& place, const wire::LockRange& range);
  Answer<wire::LockRange> get_user(const Place& place, const wire::LockRange& range);
  void leave_wal_index(std::uint64_t node);
  std::int32_t holder(std::uint64_t node, std::uint64_t asking, const struct flock& lock) const;
  void try_or_wait(std::uint64_t wait, std::uint64_t handle, std::function<int()> attempt, Done done);
  void unlocked();
  void retry();
  void schedule();
  void end(std::list<Waiter>::iterator waiter, int error);

  Loop& loop_;
  Unlocks& unlocks_;
  Timer timer_;
  std::map<Key, Held> held_;
  std::map<std::uint64_t, std::shared_ptr<OpenFile>> flocked_;  // by handle
  std::list<Waiter> waiters_;                                   // the first come first
  bool due_ = false;
};

}  // namespace ssi
