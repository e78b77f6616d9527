// SPDX-License-Identifier: LGPL-2.1-or-later
// fcntl(2) and flock(2): the locks are home's. (Not flock of a directory: the kernel does not ask us.)
#include <sys/file.h>

#include <cerrno>

#include "agent/operations.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

wire::LockRange to_range(const struct flock& lock) {
  return {lock.l_type, lock.l_start, lock.l_len, lock.l_pid};
}

// Asks for a lock, or gives one up. `wait`: until it is granted or a signal comes.
template <class M>
void ask_lock(Superblock& superblock, const RequestPtr& request, fuse_ino_t ino, M message, bool wait,
              bool unlocks) {
  const auto number = wait ? superblock.home().new_wait() : 0;
  message.wait = number;
  superblock.ask(request, message,
                 [&superblock, request, ino, unlocks](const wire::Locked& now, std::string_view) {
                   if (unlocks) return request->error(0);
                   superblock.locked(request, ino, now);
                 });
  if (!wait) return;
  // Home answers: perhaps it had granted the lock before it heard of the signal.
  request->when_interrupted([&superblock, number] {
    // Behind the lock's request, should that still wait.
    superblock.home().acknowledged().when_done_for(0, [home = superblock.home().shared_from_this(), number] {
      if (auto* session = home->session()) session->post(wire::CancelLock{number});
    });
  });
}

void getlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info, struct flock* lock) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.note_locks(ino);
  superblock.ask(request, wire::GetLock{info->fh, info->lock_owner, to_range(*lock)},
                 [request](const wire::LockRange& found, std::string_view) {
                   struct flock answer {};
                   answer.l_type = static_cast<short>(found.type);
                   answer.l_whence = SEEK_SET;
                   answer.l_start = found.start;
                   answer.l_len = found.length;
                   answer.l_pid = found.pid;
                   request->answer(fuse_reply_lock, &answer);
                 });
}

void setlk(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info, struct flock* lock, int sleep) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.note_locks(ino);
  ask_lock(superblock, request, ino, wire::SetLock{info->fh, info->lock_owner, to_range(*lock), 0},
           sleep != 0, lock->l_type == F_UNLCK);
}

void flock(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info, int operation) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  const int wanted = operation & ~LOCK_NB;
  ask_lock(superblock, request, ino, wire::Flock{info->fh, wanted, 0}, !(operation & LOCK_NB),
           wanted == LOCK_UN);
}

}  // namespace

void add_lock_operations(fuse_lowlevel_ops& table) {
  table.getlk = getlk;
  table.setlk = setlk;
  table.flock = flock;
}

}  // namespace ssi
