// SPDX-License-Identifier: LGPL-2.1-or-later
// Which guests have a file open for writing, and which run it: no guest does the one while another does the other (ETXTBSY).
// Within one guest its own kernel sees to that. Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>

#include "deputy/file_id.h"

namespace ssi {

class TextUses {
 public:
  enum Use { writes, runs };

  void begin(const FileId& file, const void* guest, Use use) { ++files_[file][guest][use]; }
  void end(const FileId& file, const void* guest, Use use);
  void forget(const void* guest);  // its session has ended

  bool has(const FileId& file, const void* guest, Use use) const;
  // Whether another guest uses the file the other way.
  bool stands_against(const FileId& file, const void* guest, Use use) const;

 private:
  using Counts = std::array<std::uint32_t, 2>;
  std::unordered_map<FileId, std::unordered_map<const void*, Counts>, FileIdHash> files_;
};

// Whether anybody has the file of this descriptor (also an O_PATH one) open for writing, at home or through us. False, too,
// when that cannot be known: who is not the file's owner may not ask, nor can anybody on a file system without leases (NFS).
bool is_open_for_writing(int fd);

}  // namespace ssi
