// SPDX-License-Identifier: LGPL-2.1-or-later
// Those of a job's descriptors that are files of home's, which it opens again in the view. Kept as long as the job lives:
// their locks are the caller's, and where the job leaves their offsets the caller's next command goes on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "common/wire.h"
#include "deputy/caller.h"
#include "deputy/description.h"

namespace ssi {

class FileServer;

class PassedFiles {
 public:
  PassedFiles() = default;
  // Of the same length: what was passed, and what describe() made of it.
  PassedFiles(const std::vector<PassedFd>& passed, const std::vector<wire::Descriptor>& described);

  void offer(FileServer& files) const;                              // before the job starts
  void settle(const std::vector<wire::Position>& positions) const;  // its leader has ended
  void rewind() const;  // it will run again

 private:
  struct File {
    std::shared_ptr<Description> description;
    std::uint64_t offset;  // at the start
    std::uint64_t token;
  };
  std::map<std::uint32_t, File> files_;  // by number
};

}  // namespace ssi
