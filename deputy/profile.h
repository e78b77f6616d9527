// SPDX-License-Identifier: LGPL-2.1-or-later
// What a command has looked up and read of home's files: so that a guest that does not know these files yet is told of them in one
// message, before the command asks for one after the other. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace ssi {

class Profile {
 public:
  static constexpr std::size_t most_paths = 4096, most_ranges = 8192;  // what comes later is left out
  static constexpr std::uint64_t most_bytes = 256 << 20;               // of content, the same

  struct Range {
    std::uint64_t offset = 0, size = 0;  // bytes
    bool operator==(const Range&) const = default;
  };
  struct Entry {
    std::string path;           // absolute; there need be nothing
    std::vector<Range> ranges;  // of its content, in the order in which they were read
    bool operator==(const Entry&) const = default;
  };

  void looked_up(const std::string& path);
  void read(const std::string& path, Range range);
  void add(const Profile& other);

  // In the order in which they were met first: so directories come before what lies in them.
  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  std::size_t ranges() const { return ranges_; }

  Profile without(const std::function<bool(const std::string& path)>& leave_out) const;

  // For a file; what cannot be understood is left out.
  std::string text() const;
  static Profile of_text(std::string_view text);

 private:
  Entry* at(const std::string& path);

  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> index_;
  std::size_t ranges_ = 0;
  std::uint64_t bytes_ = 0;
};

// Of several commands, by their keys (deputy/command_key.h).
class Profiles {
 public:
  static constexpr std::size_t most = 200;  // the one longest unused goes first

  // What a run has asked for, besides what is known. False: it is nothing new.
  bool add(const std::string& key, const Profile& profile);
  std::shared_ptr<const Profile> of(const std::string& key) const;  // null: not known

 private:
  struct Known {
    std::shared_ptr<const Profile> profile;
    mutable std::uint64_t used = 0;
  };
  std::unordered_map<std::string, Known> known_;
  mutable std::uint64_t uses_ = 0;
};

// The files that are the business of this one run: the arguments name them, or a directory above, or contain their names.
class NamedFiles {
 public:
  NamedFiles(const std::vector<std::string>& arguments, const std::string& cwd);
  bool has(const std::string& path) const;

 private:
  std::string all_;  // arguments, in one
  std::unordered_set<std::string> paths_;
};

}  // namespace ssi
