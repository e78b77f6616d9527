// SPDX-License-Identifier: LGPL-2.1-or-later
// Directories in which one guest's jobs are told that names are made before they are (wire.h, Makes): until another guest's job comes
// by. Loop thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <unordered_map>
#include <vector>

#include "deputy/file_id.h"

namespace ssi {

class OwnDirectories {
 public:
  struct Owner {
    const void* guest = nullptr;
    std::set<std::uint64_t> jobs;  // that make things there
    // Has the guest ask first from now on; `done` is called, once, when all that it did before has been done.
    std::function<void(std::function<void()> done)> revoke;
  };
  // The guest's already, or its now, for this job too. False: another's, or there are too many.
  bool add(const FileId& directory, const void* guest, std::uint64_t job, std::function<void(std::function<void()> done)> revoke);

  bool is_anothers(const FileId& directory, const void* guest) const;
  // Calls `then` when the directory is nobody's.
  void take_back(const FileId& directory, std::function<void()> then);

  void end(const void* guest, std::uint64_t job);                // the job has ended
  void forget(const void* guest);                                // the guest's session has
  void forget(const void* guest, const FileId& directory);       // the guest does not know it any more

  std::size_t size() const { return directories_.size(); }

 private:
  struct Entry {
    Owner owner;
    std::uint64_t number = 0;  // tells it from one that was there before
    std::vector<std::function<void()>> waiting;
  };
  using Directories = std::unordered_map<FileId, Entry, FileIdHash>;
  void give_up(const FileId& directory);
  template <class Is>
  void give_up_if(const Is& is);
  Directories directories_;
  std::uint64_t numbers_ = 0;
};

}  // namespace ssi
