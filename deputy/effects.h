// SPDX-License-Identifier: LGPL-2.1-or-later
// The one door through which jobs change home's files. It numbers each change; what must happen before a
// change (the policy's word, and the undo journal's look at how all was) happens here and nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/loop.h"
#include "common/result.h"
#include "deputy/export_policy.h"
#include "deputy/nodes.h"
#include "deputy/text_uses.h"
#include "deputy/undo_journal.h"
#include "deputy/news.h"
#include "deputy/own_directories.h"

namespace ssi {

// What is about to be changed: a file itself, a name, or two names.
struct Change {
  enum class Kind {
    attributes,
    create,
    mknod,
    mkdir,
    symlink,
    link,
    unlink,
    rmdir,
    rename,
    truncate,
    write,
    setxattr,
    removexattr,
    fallocate,
    copy_range
  };

  struct Place {
    const Node* dir = nullptr;
    std::string_view name;
    std::optional<FileId> is;  // the file that has the name now, if any
    int fd = -1;               // of the directory
  };

  Kind kind;
  std::uint64_t job = 0;  // whose change it is; 0: not known, or the only one's
  const Node* node = nullptr;
  int fd = -1;  // of the node
  std::optional<Place> place{}, to{};
  unsigned flags = 0;             // rename: those of renameat2(2); create: of open(2)
  std::string_view attribute{};   // setxattr, removexattr: which
  const void* session = nullptr;  // see Effects::begin
};

// Loop thread only.
class Effects {
 public:
  // `state`: a directory of ours for what is kept of the files that jobs change; "": none. See UndoKeep::claim().
  explicit Effects(Loop& loop, std::string state = {});

  // EROFS, or wire::hidden, when the policy keeps jobs from it (logged); else the errno of `perform`, which does it, or queues
  // it behind the earlier changes of the same handle and returns 0. It is called again when there was no room, and some could be
  // made.
  int apply(const ExportPolicy& policy, const Change& change, const std::function<int()>& perform);

  // --- Undoing what a job has changed (deputy/undo_journal.h). Of jobs that are not known nothing is kept.

  // From now on what the job changes is journalled. Before it starts. `session`: FileServer::session() of its guest; what
  // nobody can say which job of that session did cannot be undone for any of them.
  void begin(std::uint64_t job, UndoLimits limits = {}, const void* session = nullptr);

  struct Standing {
    bool clean = true;           // it has changed nothing
    std::string not_rerunnable;  // why what it changed cannot be undone, one line; "": it can be
  };
  Standing standing(std::uint64_t job) const;

  // Rolls back what the job has changed, after the changes of it that are under way; whatever else it asks for is ESTALE from now
  // on. Calls `done` once, from the loop, not from within. An error is one line that says what could not be restored; when that
  // is found out before anything was restored, all is left as it was.
  void undo(std::uint64_t job, std::function<void(Status)> done);

  // It ended, or was undone: drops its journal. Any number of times. Calls `done`, if any, from the loop or from within, when nothing
  // keeps a file system busy any more.
  void settle(std::uint64_t job, std::function<void()> done = {});

  // For `perform`, when it queues a change of content: what the thread needs to make that.
  UndoContent content(const Change& change);
  // A file without a name was made, or a file opened: what is given is to be kept for as long as it is open. Null: nothing.
  std::shared_ptr<void> opened(std::uint64_t job, const struct statx& status, bool made);
  // How many of the file's names are ours: no job is to see them.
  std::uint32_t links_kept(const FileId& id) const;

  // Whether a change of the file would be refused, without one being made: open(2) for writing, access(2).
  static int may_change(const ExportPolicy& policy, const Node& node);

  std::uint64_t last() const { return last_; }  // the number of the latest change, 0 before the first

  Unlocks& unlocks() { return unlocks_; }
  Links& links() { return links_; }
  OwnDirectories& own_directories() { return own_directories_; }
  TextUses& text_uses() { return text_uses_; }

 private:
  struct UnderWay;
  struct Journalled {
    const void* session = nullptr;
    bool fenced = false;
    bool dropped = false;  // what was kept, since it is not enough
    std::shared_ptr<UndoJournal> journal;
    std::shared_ptr<UnderWay> under_way;
  };

  Answer<Journalled*> journalled(const Change& change);
  void drop_if_useless(Journalled& journalled);

  Loop& loop_;
  const std::string state_;
  const Fd claim_;
  std::shared_ptr<UndoRoom> room_ = std::make_shared<UndoRoom>();
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, Journalled> journals_;  // by job
  Unlocks unlocks_;
  Links links_;
  OwnDirectories own_directories_;
  TextUses text_uses_;
};

}  // namespace ssi
