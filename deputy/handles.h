// SPDX-License-Identifier: LGPL-2.1-or-later
// Files that a guest has open, by the numbers that it chose.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/fd.h"
#include "common/loop.h"
#include "common/wire.h"
#include "deputy/act_as.h"
#include "deputy/description.h"
#include "deputy/file_id.h"

namespace ssi {

// Shared with the thread pool: the descriptor lives until the last request on it has ended, released or not.
struct OpenFile {
  Fd fd;          // none: a directory that shows nothing
  bool unopened = false;  // so far only by the guest, see FileService::find_open()
  int error = 0;          // what home had against that then
  std::uint64_t node = 0;
  std::shared_ptr<Description> description;  // that it stands for: what is read and written goes there
  bool writable = false;
  bool runs = false;                 // opened by execve(2)
  bool appends = false;              // what fcntl(2) last said of `fd`: O_APPEND
  bool written = false;              // so close(2) may have something to report
  Rights rights;                     // of who opened it
  std::uint64_t job = 0;             // that opened it: what is changed through it is that job's
  std::shared_ptr<void> journalled;  // what the undo journal knows of the file, for as long as it is open
  std::weak_ptr<const void>
      session;  // when it is gone, changes that have not begun are dropped: a lost guest is fenced
  std::int64_t position = 0;  // of a directory: where the next getdents64 reads
  bool lent = false;          // to an owner of locks, see deputy/lock_description.h

  // Runs `work` on the thread pool, then `done` on the loop, after all earlier ones of this file: so its
  // changes keep their order. Loop thread only.
  static void in_order(const std::shared_ptr<OpenFile>& file, Loop& loop, std::function<void()> work,
                       std::function<void()> done);

 private:
  struct Step {
    std::function<void()> work, done;
  };
  static void next(const std::shared_ptr<OpenFile>& file, Loop& loop);
  std::deque<Step> steps_;
  bool busy_ = false;
};

class Handles {
 public:
  bool add(std::uint64_t number, std::shared_ptr<OpenFile> file);  // false: it is taken
  std::shared_ptr<OpenFile> find(std::uint64_t number) const;      // null: never opened
  std::shared_ptr<OpenFile> remove(std::uint64_t number);
  std::size_t size() const { return files_.size(); }
  template <class F>
  void each(F&& f) const {
    for (const auto& [number, file] : files_) f(number, *file);
  }

 private:
  std::unordered_map<std::uint64_t, std::shared_ptr<OpenFile>> files_;
};

// A name as getdents64(2) gives it.
struct RawEntry {
  std::string name;
  std::uint64_t ino = 0;
  std::uint32_t type = 0;  // S_IFMT bits, 0: not said
  std::int64_t next = 0;
};

// Reads names from `offset` on until `take` says false or the directory ends. 0 or an errno.
int read_directory(OpenFile& dir, std::int64_t offset, const std::function<bool(RawEntry&&)>& take);

}  // namespace ssi
