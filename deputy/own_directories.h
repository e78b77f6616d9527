// SPDX-License-Identifier: LGPL-2.1-or-later
// Directories that a guest's job has made, and in which it is told that names are made before they are (wire.h, Makes::all): until
// another guest's job comes by. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "deputy/file_id.h"

namespace ssi {

class OwnDirectories {
 public:
  struct Owner {
    const void* guest = nullptr;
    std::uint64_t job = 0;
    // Has the guest ask first from now on; `done` is called, once, when all that it did before has been done.
    std::function<void(std::function<void()> done)> revoke;
  };
  // False: there are too many.
  bool add(const FileId& directory, Owner owner);

  bool is_of(const FileId& directory, const void* guest) const;
  bool is_anothers(const FileId& directory, const void* guest) const;
  // Calls `then` when the directory is nobody's.
  void take_back(const FileId& directory, std::function<void()> then);

  void end(const void* guest, std::uint64_t job);  // the job has ended
  void forget(const void* guest);                  // the guest's session has

  std::size_t size() const { return directories_.size(); }

 private:
  struct Entry {
    Owner owner;
    std::vector<std::function<void()>> waiting;
  };
  using Directories = std::unordered_map<FileId, Entry, FileIdHash>;
  void give_up(const FileId& directory);
  template <class Is>
  void give_up_if(const Is& is);
  Directories directories_;
};

}  // namespace ssi
