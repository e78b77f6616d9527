// SPDX-License-Identifier: LGPL-2.1-or-later
// Directories of home's that were fetched as a whole, since one name after the other was asked for in them: which node each name
// leads to, and that there are no others. What home has said of the nodes is in Leases.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace ssi {

class Listings {
 public:
  // Directories of which more names are known than `most` in all are forgotten, the one longest unused first.
  explicit Listings(std::size_t most = 50'000) : most_(most) {}

  // Where a name leads: to a node, 0: to nothing. None: home must be asked.
  std::optional<std::uint64_t> find(std::uint64_t directory, const std::string& name);

  // Home is asked for a name. True: for the whole directory too, now.
  bool asks(std::uint64_t directory);

  // It is being fetched now: the number of this fetch, which holds until it is complete, given up, or the directory forgotten.
  std::uint64_t begin(std::uint64_t directory);
  bool is_fetching(std::uint64_t directory, std::uint64_t number) const;
  void give_up(std::uint64_t directory);

  // A directory's names arrive. Each node that is added is held for the kernel; those that are returned are not any more.
  [[nodiscard]] std::vector<std::uint64_t> add(std::uint64_t directory, const std::string& name, std::uint64_t node);
  void set_unknown(std::uint64_t directory, const std::string& name);  // home is to be asked each time
  void set_complete(std::uint64_t directory);                         // there are no others

  // Home must be asked again: for a name, for what was not there, for anything in a directory.
  [[nodiscard]] std::optional<std::uint64_t> forget(std::uint64_t directory, const std::string& name);
  bool is_complete(std::uint64_t directory) const;
  void set_incomplete(std::uint64_t directory);
  [[nodiscard]] std::vector<std::uint64_t> forget(std::uint64_t directory);
  [[nodiscard]] std::vector<std::uint64_t> clear();

  std::size_t size() const { return size_; }  // names

 private:
  static constexpr std::uint64_t unknown = ~0ULL;

  struct Directory {
    std::unordered_map<std::string, std::uint64_t> names;
    unsigned asked = 0;  // names, since it was last fetched
    std::uint64_t fetch = 0;  // the number of the one under way; 0: none
    bool complete = false;
    std::list<std::uint64_t>::iterator place;  // in recent_
  };
  Directory& at(std::uint64_t directory);
  std::vector<std::uint64_t> make_room(std::uint64_t for_directory);

  std::size_t most_, size_ = 0;
  std::uint64_t fetches_ = 0;
  std::unordered_map<std::uint64_t, Directory> directories_;
  std::list<std::uint64_t> recent_;  // directories, the one used last first
};

}  // namespace ssi
