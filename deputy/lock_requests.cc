// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests for locks. None of them blocks on a local file system, so they are made on the loop.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "deputy/file_service.h"
#include "deputy/wal_index.h"

namespace ssi {

bool FileService::is_wal_index(const OpenFile& file) {
  const Node* node = nodes_.find(file.node);
  return node && wal_index::is_one(node->name);
}

Answer<wire::LockRange> FileService::serve(const wire::GetLock& m) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return fails(EBADF);
  return locks_->get({file, m.handle, m.owner, is_wal_index(*file)}, m.range);
}

std::function<void(int)> FileService::locked(Id id, std::uint64_t handle, bool unlocks) {
  return [weak = weak_from_this(), id, handle, unlocks](int error) {
    const auto self = weak.lock();
    if (!self) return;
    const auto file = self->handles_.find(handle);
    Node* node = file ? self->nodes_.find(file->node) : nullptr;
    if (!error && !node) error = EBADF;
    if (error) return self->session_.fail(id, error);
    wire::Locked now;
    if (!unlocks) {
      self->tell_news();
      const auto attr = self->tell_attr(*node, file->fd.get());
      if (!attr) return self->session_.fail(id, attr.error());
      now.attr = *attr;
      if (node->parent) now.stale = self->stale_in(node->parent->number);
    }
    self->session_.reply(id, now);
  };
}

void FileService::serve(Id id, const wire::SetLock& m, std::string_view) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return session_.fail(id, EBADF);
  locks_->set({file, m.handle, m.owner, is_wal_index(*file)}, m.range, m.wait,
              locked(id, m.handle, m.range.type == F_UNLCK));
}

void FileService::serve(Id id, const wire::Flock& m, std::string_view) {
  const auto file = find_open(m.handle);
  if (!file || !file->fd) return session_.fail(id, EBADF);
  if (m.operation != LOCK_SH && m.operation != LOCK_EX && m.operation != LOCK_UN)
    return session_.fail(id, EINVAL);
  locks_->flock(file, m.handle, m.operation, m.wait, locked(id, m.handle, m.operation == LOCK_UN));
}

void FileService::serve(const wire::CancelLock& m) {
  locks_->cancel(m.wait);
}

}  // namespace ssi
