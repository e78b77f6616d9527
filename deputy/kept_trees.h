// SPDX-License-Identifier: LGPL-2.1-or-later
// Which files lie below the directories that the export policy keeps back: by what they are, so that neither a hard link
// nor a bind mount of something in there leads around it. Looking again costs one stat for each directory that did not
// change.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/export_rules.h"
#include "deputy/file_id.h"

namespace ssi {

class KeptTrees {
 public:
  using Ids = std::unordered_map<FileId, Kept, FileIdHash>;

  // Beyond so many files what lies deepest is known by its way there only.
  static constexpr std::size_t most = 20'000;

  struct Tree {
    std::string path;  // of a directory; nothing is followed
    Kept kept;
  };
  // Adds what lies below to `ids`, the strictest word counting. The first trees come first where there is too much. False:
  // there was.
  bool look(std::vector<Tree> trees, Ids& ids);

 private:
  struct Directory {
    std::int64_t mtime = 0, looked = 0;  // ns
    std::vector<FileId> files;
    std::vector<std::string> below;  // names of directories of the same file system
  };
  const Directory* directory(const std::string& path);
  static bool read(const std::string& path, std::uint64_t dev, Directory& into);

  std::unordered_map<FileId, Directory, FileIdHash> known_, seen_;
};

}  // namespace ssi
