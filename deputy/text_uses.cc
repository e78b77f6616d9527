// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/text_uses.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "common/fd.h"

namespace ssi {

void TextUses::end(const FileId& file, const void* guest, Use use) {
  auto& guests = files_[file];
  auto& counts = guests[guest];
  if (counts[use] > 0) --counts[use];
  if (counts == Counts{}) guests.erase(guest);
  if (guests.empty()) files_.erase(file);
}

void TextUses::forget(const void* guest) {
  for (auto& [file, guests] : files_) guests.erase(guest);
  std::erase_if(files_, [](const auto& file) { return file.second.empty(); });
}

bool TextUses::has(const FileId& file, const void* guest, Use use) const {
  const auto guests = files_.find(file);
  if (guests == files_.end()) return false;
  const auto counts = guests->second.find(guest);
  return counts != guests->second.end() && counts->second[use] > 0;
}

bool TextUses::stands_against(const FileId& file, const void* guest, Use use) const {
  const auto guests = files_.find(file);
  return guests != files_.end() && std::any_of(guests->second.begin(), guests->second.end(), [&](const auto& other) {
           return other.first != guest && other.second[use == writes ? runs : writes] > 0;
         });
}

// fcntl(2): no lease for reading is given while a description that can write exists. Closing gives it up. Who opens the
// file in between waits for that, and we are told by a signal: not SIGIO, which would end us.
bool is_open_for_writing(int fd) {
  const Fd file(::open(ProcPath(fd).c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file || ::fcntl(file.get(), F_SETSIG, SIGURG) != 0) return false;
  return ::fcntl(file.get(), F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
}

}  // namespace ssi
