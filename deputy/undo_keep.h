// SPDX-License-Identifier: LGPL-2.1-or-later
// What is kept of files that a job removes or overwrites, so that it can be undone: descriptors, second names in a directory of ours
// on the same file system, and copies of content in a nameless file. One for each job. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "common/seldom.h"
#include "common/wire.h"
#include "deputy/file_id.h"

namespace ssi {

class UndoRoom;

class UndoKeep {
 public:
  // Names of our directories, which no guest is shown. They lie in the deputy's state directory, or when that is on another
  // file system in the topmost directory that the user may write to: no job can remove that one.
  static constexpr std::string_view prefix = wire::kept_names;

  // `state`: a directory of ours that exists; "": none. `bytes`: of content that is copied, at most.
  UndoKeep(std::string state, std::uint64_t bytes, std::shared_ptr<UndoRoom> room);
  ~UndoKeep();  // removes all that is kept, which may take a disk's time
  UndoKeep(const UndoKeep&) = delete;
  UndoKeep& operator=(const UndoKeep&) = delete;

  // Makes `state` ours for as long as what it returns is open. Whoever does so while nobody else has it removes what deputies
  // that died have left there, and nothing else. (One user may have several deputies, one for each XDG_RUNTIME_DIR.)
  static Fd claim(const std::string& state);

  // From now on it is not complete, for that reason (the first one counts), and nothing more is kept.
  void forfeit(const std::string& why);
  std::string forfeited() const;  // "": it is complete
  bool complete() const { return !over_; }
  bool removed() const { return removed_; }
  bool empty() const;

  // Removes what is kept, since its space is needed: it is forfeited. Takes a disk's time, for which nothing else here waits. False:
  // nothing was ever kept.
  bool give_up();

  // What is left of a file that loses its last name. Itself, open: who has it open at home as well is to find it without a
  // name. It cannot be given another one, only copied; so all others have a second name.
  struct Link {
    std::weak_ptr<const Fd> file;
    int dir = -1;  // of ours
    std::string name;

    Descriptor reach() const;  // none: it is kept no more
  };
  Result<Link> link(int dir, const std::string& name, const FileId& is);
  // Of one that is held: a file without a name, which can be given one on its file system.
  Result<Fd> copy_of(const Link& link);
  void unlink(const Link& link);

  // Content as it was, from `from` to `to`: in `store` at `at`; a hole, when there is none.
  struct Piece {
    std::uint64_t from = 0, to = 0;
    int store = -1;
    std::uint64_t at = 0;
  };
  // Keeps a part of the file (also of an O_PATH descriptor), and adds where.
  Status save(int file, std::uint64_t from, std::uint64_t to, std::vector<Piece>& pieces);
  // Keeps all of it without a copy. False: its file system cannot do that.
  bool clone(int file, std::uint64_t size, std::vector<Piece>& pieces);
  static Status restore(int file, const Piece& piece);

  UndoRoom& room() { return *room_; }

 private:
  struct Shelf;  // on one mount
  Shelf& shelf_for(int fd);
  Shelf* make_shelf(std::uint64_t mount, int fd);
  Status make_store(Shelf& shelf);
  bool take(std::uint64_t bytes);
  Descriptor hold(Shelf& shelf, int dir, const std::string& name, const FileId& is);
  Status copy(int from, Piece whole, std::vector<Piece>& pieces);
  void remove_all();
  static void sweep(const std::string& state);

  const std::string state_;
  std::shared_ptr<UndoRoom> room_;
  std::mutex removing_;       // held by who removes all; taken before the other one
  mutable std::mutex mutex_;  // its users are threads that change different files, and the loop, which waits for none of them
  std::vector<std::unique_ptr<Shelf>> shelves_;
  std::vector<Descriptor> files_;
  std::uint64_t bytes_, links_ = 0, held_bytes_ = 0;
  const std::uint64_t most_;
  std::string forfeited_;
  std::atomic<bool> over_ = false;  // it is
  std::atomic<bool> removed_ = false;
};

// What all journals share. All that is kept takes space that jobs may need: then it goes.
class UndoRoom {
 public:
  // Loop thread. False: there are as many descriptors of files whose names are gone as there may be.
  bool hold();
  void let_go(std::size_t count) { held_ -= count; }

  void add(UndoKeep& keep);
  void remove(UndoKeep& keep);
  // After ENOSPC or EDQUOT. False: nothing was kept.
  bool make();

 private:
  std::mutex mutex_;
  std::vector<UndoKeep*> keeps_;
  std::atomic<std::size_t> held_ = 0;  // a journal may end on another thread
  Seldom said_;
};

inline bool wants_room(int error) {
  return error == ENOSPC || error == EDQUOT;
}

}  // namespace ssi
