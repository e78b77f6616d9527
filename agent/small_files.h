// SPDX-License-Identifier: LGPL-2.1-or-later
// Small files, fetched before they are read: by who reads the files of a directory one after the other, in the order in which it
// lists them or in that of their names, as tar(1), grep(1) and cp(1) do. A round trip for each would cost more than the file.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ssi {

class SmallFiles {
 public:
  static constexpr std::uint64_t largest = 64 << 10;  // bytes of a small file

  struct Limits {
    std::size_t files = 128;             // fetched ahead of who reads
    std::uint64_t bytes = 2 << 20;       // the same
    std::uint64_t kept = 32 << 20;       // bytes that nobody has read yet; beyond, the oldest are forgotten
    std::size_t directories = 1000;      // whose order is remembered
  };

  // A file as it is leased; size 0: not, or none that is small.
  struct Leased {
    std::uint64_t lease = 0, size = 0;
  };
  using Done = std::function<void(int error, std::string_view bytes)>;
  struct Source {
    std::function<Leased(std::uint64_t node)> leased;
    std::function<void(std::uint64_t node, std::uint64_t size, Done done)> fetch;  // all of it; calls back later
  };

  SmallFiles() : SmallFiles(Limits{}) {}
  explicit SmallFiles(Limits limits) : limits_(limits) {}

  // A directory was listed, from its beginning or going on: names with their nodes.
  struct Named {
    std::string name;
    std::uint64_t node = 0;
  };
  void listed(std::uint64_t directory, bool from_start, const std::vector<Named>& files);

  // A small file of the directory is read from its beginning. True: `done` is, or will be, called with all of it; else ask for it.
  // What comes next may be fetched.
  bool read(std::uint64_t directory, std::uint64_t node, const Source& source, Done done);

  void forget(std::uint64_t node) { drop(node); }

 private:
  struct File {
    std::uint64_t lease = 0, size = 0;
    bool here = false;
    int error = 0;
    std::string bytes;
    std::vector<Done> waiting;
    std::list<std::uint64_t>::iterator place;  // in order_
  };
  struct Order {
    std::vector<std::uint64_t> nodes;
    std::unordered_map<std::uint64_t, std::size_t> index;
    void make(std::vector<std::uint64_t> all);
  };
  struct Directory {
    std::vector<Named> files;
    Order listed, named;
    bool made = false;
    std::list<std::uint64_t>::iterator place;  // in recent_
  };

  bool goes_on(std::uint64_t directory, Directory& known, std::uint64_t node);
  void fetch_next(const Order& order, std::size_t from, const Source& source);
  void fetch(std::uint64_t node, const Leased& leased, const Source& source);
  void drop(std::uint64_t node);

  const Limits limits_;
  std::unordered_map<std::uint64_t, std::shared_ptr<File>> files_;
  std::list<std::uint64_t> order_;  // of files_, the oldest first
  std::uint64_t kept_ = 0;          // bytes
  std::unordered_map<std::uint64_t, Directory> directories_;
  std::list<std::uint64_t> recent_;

  // Who reads: how many files in a row, in which order, and the last one.
  unsigned streak_ = 0;
  bool by_name_ = false;
  std::uint64_t last_directory_ = 0;
  std::size_t last_index_ = 0;
};

}  // namespace ssi
