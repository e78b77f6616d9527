// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job has changed at home, such that it can be undone: not a list of its changes, but how names and files were before,
// and how the job left them. What it made and removed again is forgotten, and the order of its changes need not be known.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/result.h"
#include "deputy/nodes.h"
#include "deputy/undo_keep.h"

namespace ssi {

struct Change;

// How much of what a job changes is kept, so that it can be undone.
struct UndoLimits {
  std::uint64_t bytes = 256 << 20;  // of content that it overwrites
  std::size_t entries = 100'000;    // names and files
};

// A file as a journal knows it: one that has changed, or a directory on the way to one.
struct UndoFile {
  struct Spot {
    std::shared_ptr<UndoFile> dir;  // none: the name is a path
    std::string name;
  };

  FileId id;
  bool made = false;                   // by the job: then nothing of it is to be restored
  bool gone = false;                   // a directory that the job has removed
  Spot was, is;                        // before the job, and now; no name: it has none
  Fd held;                             // the way to one whose name is not known, or is gone
  std::optional<wire::Attr> original;  // of one that was there and has changed
  std::map<std::string, std::optional<std::string>> xattrs;  // as they were; of a removed directory, all
  std::optional<UndoKeep::Link> link;                        // of one that has lost its last name

  std::mutex changing;                           // held by the thread that changes its content
  std::vector<UndoKeep::Piece> pieces;           // content as it was
  std::map<std::uint64_t, std::uint64_t> saved;  // from, to: where that is, disjoint

  std::mutex noting;
  std::optional<wire::Attr> left;  // how the job left it
};

using UndoFilePtr = std::shared_ptr<UndoFile>;

// What a thread needs to change an open file's content. Empty: nothing is kept of it.
class UndoContent {
 public:
  struct Range {
    std::uint64_t from = 0, to = ~0ULL;
  };

  explicit UndoContent(std::shared_ptr<UndoRoom> room) : room_(std::move(room)) {}
  UndoContent(std::shared_ptr<UndoRoom> room, UndoFilePtr file, std::shared_ptr<UndoKeep> keep,
              std::shared_ptr<void> under_way)
      : room_(std::move(room)),
        file_(std::move(file)),
        keep_(std::move(keep)),
        under_way_(std::move(under_way)) {}

  // On the thread pool. Keeps what will be overwritten, which `range` says (empty: nothing), calls `change`, and notes how the
  // file is then. Returns what `change` did: 0 or an errno; when there was no room, that is made, and it is called again.
  int run(int file, const std::function<Range()>& range, const std::function<int()>& change) const;

  // Keeps all of the file that there was, beforehand; so run() has nothing more to keep.
  void keep(int file) const;

  // Whether run() may take long, since much is to be kept.
  bool keeps_much() const { return file_ && !file_->made && file_->original && file_->original->size > 0; }

 private:
  void save(int file, Range range) const;

  std::shared_ptr<UndoRoom> room_;
  UndoFilePtr file_;
  std::shared_ptr<UndoKeep> keep_;
  std::shared_ptr<void> under_way_;  // an undo waits for these
};

class UndoJournal {
 public:
  UndoJournal(const std::string& state, UndoLimits limits, std::shared_ptr<UndoRoom> room)
      : limits_(limits), keep_(std::make_shared<UndoKeep>(state, limits.bytes, std::move(room))) {}
  ~UndoJournal();
  UndoJournal(const UndoJournal&) = delete;
  UndoJournal& operator=(const UndoJournal&) = delete;

  // --- Loop thread.

  // The files of a change that is about to be made; given back when it has been.
  struct Concerned {
    UndoFilePtr node, dir, file, to_dir, to_file;
    Fd last;  // the only way to `file` afterwards
    bool file_kept = false, to_file_kept = false;
  };
  Concerned before(const Change& change);
  void after(const Change& change, const Concerned& files, int error);

  // A file without a name was made. What is given here is to be kept for as long as it is open.
  std::shared_ptr<void> made(const struct statx& status);
  std::shared_ptr<void> open(const FileId& id) { return find(id); }
  UndoContent content(std::shared_ptr<UndoRoom> room, const Node& node, int fd,
                      std::shared_ptr<void> under_way);
  // How many names of the file are ours.
  std::uint32_t links_kept(const FileId& id) const;

  bool clean() const { return clean_; }
  bool complete() const { return keep_->complete(); }  // else it was forfeited
  bool keeps_nothing() const { return keep_->empty(); }
  void give_up() { keep_->give_up(); }  // any thread; takes a disk's time
  void blame() { clean_ = false; }      // it may have changed something
  void forfeit(const std::string& why) { keep_->forfeit(why); }
  std::string forfeited() const { return keep_->forfeited(); }

  // --- Any thread, when no change of the job's is under way.

  // Restores all. An error before anything was restored when something is not as the job left it.
  Status roll_back();

 private:
  friend class UndoRollback;
  struct Binding {
    UndoFilePtr was, is;
  };
  using Names = std::map<std::pair<UndoFilePtr, std::string>, Binding>;

  UndoFilePtr find(const FileId& id) const;
  UndoFilePtr add(const FileId& id, UndoFile::Spot spot);
  UndoFilePtr know(const Node& node);
  UndoFilePtr know(const UndoFilePtr& dir, std::string_view name, const FileId& id);
  void touch(const UndoFilePtr& file, int fd);
  bool hold(UndoFile& file, Fd fd);
  bool keep_name(const UndoFilePtr& file, int dir, std::string_view name);
  void keep_xattr(const UndoFilePtr& file, int fd, const std::string& name);
  void bind(const UndoFilePtr& dir, std::string_view name, const UndoFilePtr& was, const UndoFilePtr& is);
  void lost_name(const UndoFilePtr& file, const UndoFilePtr& dir, std::string_view name);
  void check_unchanged(UndoFile& file, int fd);
  void check_limits();

  const UndoLimits limits_;
  std::shared_ptr<UndoKeep> keep_;
  bool clean_ = true;
  std::unordered_map<FileId, std::weak_ptr<UndoFile>, FileIdHash> by_id_;
  std::size_t prune_at_ = 1024;
  std::vector<UndoFilePtr> touched_;  // those that have an original
  std::vector<UndoFilePtr> parted_;   // those that have a link
  std::size_t held_ = 0;              // descriptors, of those that all journals may hold
  Names names_;                       // that do not mean what they did
};

}  // namespace ssi
