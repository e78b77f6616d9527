// SPDX-License-Identifier: LGPL-2.1-or-later
// Home's file systems: which there are, which of them are exported, and their numbers in a session.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "deputy/export_policy.h"
#include "deputy/file_id.h"

namespace ssi {

// A line of /proc/PID/mountinfo. Source: proc(5).
struct MountLine {
  std::uint64_t id = 0;
  std::uint64_t dev = 0;
  std::string path, type;
  bool read_only = false;
};

std::vector<MountLine> parse_mountinfo(std::string_view text);  // a line that makes no sense is skipped

// What may be exported: no pseudo file system, nothing below /proc, /sys and /dev, of several mounts on one
// path the last, parents before children.
std::vector<MountLine> exportable(const std::vector<MountLine>& lines);

class HomeMounts {
 public:
  struct Root {
    std::string path;
    std::uint32_t fs = 0;
    bool read_only = false;
    FileId id;
    Fd fd;  // O_PATH
    std::uint64_t identity = 0;  // as in wire::Mount
  };

  HomeMounts();

  // Reads the table again. The roots, parents first, are those that can be reached and are directories.
  Result<std::vector<Root>> read(const ExportPolicy& policy);
  bool changed();  // the kernel's table, since the last read()

  std::uint32_t number(std::uint64_t dev) const;  // 0: none, a device that the table does not name
  bool barred(std::uint64_t dev) const { return barred_.contains(dev); }

  // Whether home's kernel hears of all changes on it: not of those that are made elsewhere (network file systems), nor
  // beneath (FUSE).
  bool heard_of(std::uint32_t number) const { return !remote_.contains(number); }

 private:
  Fd watch_;  // /proc/self/mountinfo: poll(2) tells of each change once
  bool changed_ = false;
  std::uint32_t next_ = 1;
  std::unordered_map<std::uint64_t, std::uint32_t>
      numbers_;  // by st_dev, never taken back: a number means one device
  std::unordered_set<std::uint64_t> barred_;
  std::unordered_set<std::uint32_t> remote_;
};

}  // namespace ssi
