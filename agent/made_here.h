// SPDX-License-Identifier: LGPL-2.1-or-later
// What jobs of this guest have made on one of home's file systems, and how much of what they do with it next may be acknowledged before
// home knows (wire.h, Makes).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/wire.h"

namespace ssi {

class MadeHere {
 public:
  // Of a directory, for as long as the job runs, and it passes nothing on to what is made in it (a group, an ACL).
  void lease(std::uint64_t directory, wire::Makes makes, std::uint64_t job);
  wire::Makes makes(std::uint64_t directory) const;
  // What home has said of it last; null: nothing since the lease began.
  wire::Attr* directory(std::uint64_t directory);
  void told(std::uint64_t node, const wire::Attr& attr);
  static bool passes_on(const wire::Attr& attr);
  void revoke(std::uint64_t directory) { directories_.erase(directory); }

  // Inode numbers that home has made ready for what a user's job makes next; 0: none is left.
  void add_inodes(const wire::Caller& of, const std::vector<std::uint64_t>& inodes);
  std::uint64_t take_inode(const wire::Caller& of);

  // A file or symbolic link that only this guest can have changed since it was made: what it is like now, but for what home alone
  // knows (its inode number, and the very time).
  struct File {
    wire::Attr attr;
    std::uint64_t job = 0;
    std::uint64_t handle = 0;  // by which it was made, and is written; 0: closed
    bool has_room = false;     // at home, for what is written
    bool refused = false;      // by home, which its job is told at its end
    bool is_known = true;      // `attr` is true; not behind a change that home was asked for
    int error = 0;             // that home has answered to what was acknowledged, and that nobody was told yet
    // All that it holds: who reads what he has just written (an assembler, a linker, git) need not wait for home. None: not known, or
    // more than is kept.
    std::optional<std::string> content{};
    std::uint64_t wrote_at = 0;  // loop time, ms
  };
  // Null: there are too many.
  File* add(std::uint64_t node, File file);
  File* find(std::uint64_t node);
  // Home was asked for a change of it; or somebody else may have made one.
  void set_unknown(std::uint64_t node);
  void forget(std::uint64_t node);

  static constexpr std::size_t most_of_one = 16 << 20, most_content = 64 << 20;  // bytes of content that are kept
  void begin_content(File& file, std::uint64_t now);  // it is empty
  static constexpr std::uint64_t content_ms = 1000;  // behind the last write: who writes to the file at home in the very same moment may not be noticed
  void wrote(File& file, std::uint64_t offset, std::string_view bytes, std::uint64_t now);
  void drop_content(std::uint64_t node);
  // Null: it is not known.
  const std::string* content(std::uint64_t node, std::uint64_t now);

  // A job ends (0: all do): its directories are everybody's, its inodes nobody's; and then its files, of which those are returned that have an error
  // which nobody was told.
  void end_leases(std::uint64_t job);
  std::vector<std::pair<std::uint64_t, File>> end_files(std::uint64_t job);

  std::size_t size() const { return directories_.size() + files_.size(); }

 private:
  struct Lease {
    wire::Makes makes;
    std::uint64_t job;
    wire::Attr attr{};  // ino 0: none
  };
  std::unordered_map<std::uint64_t, Lease> directories_;
  struct Inode {
    std::uint32_t uid, gid;
    std::uint64_t job, number;
  };
  std::deque<Inode> inodes_;
  void drop_content(File& file);
  std::unordered_map<std::uint64_t, File> files_;
  std::size_t content_bytes_ = 0;
};

}  // namespace ssi
