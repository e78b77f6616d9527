// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/handles.h"

#include <dirent.h>

#include <cstring>

namespace ssi {

void OpenFile::in_order(const std::shared_ptr<OpenFile>& file, Loop& loop, std::function<void()> work,
                        std::function<void()> done) {
  file->steps_.push_back({std::move(work), std::move(done)});
  if (!file->busy_) next(file, loop);
}

void OpenFile::next(const std::shared_ptr<OpenFile>& file, Loop& loop) {
  if (file->session.expired()) file->steps_.clear();
  file->busy_ = !file->steps_.empty();
  if (!file->busy_) return;
  auto step = std::move(file->steps_.front());
  file->steps_.pop_front();
  loop.queue_work(std::move(step.work), [file, &loop, done = std::move(step.done)] {
    done();
    next(file, loop);
  });
}

bool Handles::add(std::uint64_t number, std::shared_ptr<OpenFile> file) {
  return files_.try_emplace(number, std::move(file)).second;
}

std::shared_ptr<OpenFile> Handles::find(std::uint64_t number) const {
  const auto found = files_.find(number);
  return found == files_.end() ? nullptr : found->second;
}

std::shared_ptr<OpenFile> Handles::remove(std::uint64_t number) {
  auto node = files_.extract(number);
  return node ? std::move(node.mapped()) : nullptr;
}

int read_directory(OpenFile& dir, std::int64_t offset, const std::function<bool(RawEntry&&)>& take) {
  // A page's worth of common names: what does not fit in the reply is read again.
  alignas(dirent64) char buffer[16384];
  for (;;) {
    if (dir.position != offset || offset == 0) {
      if (::lseek(dir.fd.get(), offset, SEEK_SET) < 0) return errno;
      dir.position = offset;
    }
    const auto got = ::getdents64(dir.fd.get(), buffer, sizeof buffer);
    if (got < 0) return errno;
    if (got == 0) return 0;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      dir.position = entry->d_off;
      const bool last = at >= got;
      // The kernel stands at the end of the buffer; wherever else we stop, the next read must seek.
      if (!last) dir.position = -1;
      if (!take(
              {entry->d_name, entry->d_ino, static_cast<std::uint32_t>(DTTOIF(entry->d_type)), entry->d_off}))
        return 0;
      offset = entry->d_off;
    }
  }
}

}  // namespace ssi
