// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/locks.h"

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "deputy/wal_index.h"

namespace ssi {
namespace {

constexpr std::uint64_t first_delay_ms = 1, last_delay_ms = 50;

// Owners of one guest's with a description of their own here: no guest may take all of the deputy's.
constexpr std::size_t most_held = 1000;

// Not left to close(2): a thread may still use a copy. On a description of home's the lock stays as long as that does.
void give_up(const OpenFile& file) {
  if (!file.description) ::flock(file.fd.get(), LOCK_UN);
}

struct flock to_flock(const wire::LockRange& range) {
  struct flock lock {};  // l_pid must be 0
  lock.l_type = static_cast<short>(range.type);
  lock.l_whence = SEEK_SET;
  lock.l_start = range.start;
  lock.l_len = range.length;
  return lock;
}

bool overlap(const struct flock& a, const struct flock& b) {
  const auto end = [](const struct flock& lock) {
    return lock.l_len == 0 ? std::numeric_limits<off_t>::max() : lock.l_start + lock.l_len - 1;
  };
  return a.l_start <= end(b) && b.l_start <= end(a);
}

}  // namespace

std::shared_ptr<Locks> Locks::make(Loop& loop, Unlocks& unlocks) {
  std::shared_ptr<Locks> made(new Locks(loop, unlocks));
  unlocks.listen(made.get(), [self = made.get()] { self->unlocked(); });
  return made;
}

Locks::~Locks() {
  unlocks_.forget(this);
  held_.clear();
  for (const auto& [handle, file] : flocked_) give_up(*file);
  unlocks_.announce();
}

// ------------------------------------------------------------------------------------------------------ fcntl

// The owner's description of the file, such that it can set locks of this type. An owner that has locked
// through a handle that may only be read, and now locks to write through another, gets a second description:
// read locks can be shared, so nobody can come in between.
Answer<Locks::Held*> Locks::hold(const Place& place, int type) {
  const Key key{place.file->node, place.owner};
  auto found = held_.find(key);
  if (found == held_.end() && held_.size() >= most_held) return fails(ENOLCK);
  if (found == held_.end() || !found->second.description.may(type)) {
    auto description = LockDescription::of(place.file);
    if (!description) return fails(description.error());
    if (found == held_.end()) {
      found = held_.emplace(key, Held{std::move(*description), {}, 0}).first;
    } else if (description->may(type)) {
      if (const int error = description->share(found->second.description)) return fails(error);
      found->second.description = std::move(*description);
    }
  }
  found->second.handles.insert(place.handle);
  return &found->second;
}

int Locks::set_now(const Place& place, const wire::LockRange& range) {
  const auto held = hold(place, range.type);
  if (!held) return held.error();
  (*held)->pid = range.pid;
  auto lock = to_flock(range);
  if (::fcntl((*held)->description.fd(), F_OFD_SETLK, &lock) != 0) return errno == EACCES ? EAGAIN : errno;
  if (range.type != F_WRLCK) unlocks_.announce();  // a write lock may have become a read lock
  return 0;
}

void Locks::set(const Place& place, const wire::LockRange& range, std::uint64_t wait, Done done) {
  try_or_wait(
      wait, place.handle,
      [this, place, range] {
        const bool is_user = place.is_wal_index && wal_index::is_its_user(range);
        const int error = is_user ? set_user(place, range) : set_now(place, range);
        if (place.is_wal_index) leave_wal_index(place.file->node);
        return error;
      },
      std::move(done));
}

Answer<wire::LockRange> Locks::get(const Place& place, const wire::LockRange& range) {
  if (place.is_wal_index && wal_index::is_its_user(range)) return get_user(place, range);
  const auto held = hold(place, F_UNLCK);
  if (!held) return fails(held.error());
  auto lock = to_flock(range);
  if (::fcntl((*held)->description.fd(), F_OFD_GETLK, &lock) != 0) return fails(errno);
  wire::LockRange found{lock.l_type, lock.l_start, lock.l_len, 0};
  if (lock.l_type != F_UNLCK) found.pid = holder(place.file->node, place.owner, lock);
  return found;
}

// ---------------------------------------------------------------------------------------- users of a wal-index

int Locks::set_user(const Place& place, const wire::LockRange& range) {
  const Place guest{place.file, place.handle, wal_index::guest_owner};
  if (range.type != F_UNLCK)
    if (const int error = set_now(guest, {F_WRLCK, wal_index::user_byte, 1, 0})) return error;
  return set_now(place, {range.type, wal_index::owners_byte, 1, range.pid});
}

Answer<wire::LockRange> Locks::get_user(const Place& place, const wire::LockRange& range) {
  auto found = get({place.file, place.handle, place.owner}, {range.type, wal_index::owners_byte, 1, 0});
  if (found && found->type == F_UNLCK) found = get({place.file, place.handle, wal_index::guest_owner}, range);
  leave_wal_index(place.file->node);
  if (found && found->type != F_UNLCK) found->start = wal_index::user_byte;
  return found;
}

// The last user of this guest leaves it to other machines.
void Locks::leave_wal_index(std::uint64_t node) {
  const auto guest = held_.find({node, wal_index::guest_owner});
  if (guest == held_.end()) return;
  for (auto at = held_.lower_bound({node, 0}); at != guest; ++at)
    for (const auto& range : at->second.description.ranges())
      if (range.l_start + range.l_len > wal_index::owners_byte || range.l_len == 0) return;
  held_.erase(guest);
  unlocks_.announce();
}

// Which process of this guest it is. Of others there is no number that would mean anything there.
std::int32_t Locks::holder(std::uint64_t node, std::uint64_t asking, const struct flock& lock) const {
  if (lock.l_pid > 0) return 0;  // a process of home's
  for (auto at = held_.lower_bound({node, 0}); at != held_.end() && at->first.first == node; ++at)
    if (at->first.second != asking)
      for (const auto& range : at->second.description.ranges())
        if (range.l_type == lock.l_type && overlap(range, lock)) return at->second.pid;
  return 0;
}

void Locks::closed(std::uint64_t node, std::uint64_t owner) {
  if (!held_.erase({node, owner})) return;
  leave_wal_index(node);
  unlocks_.announce();
}

// Whoever locked through this handle has closed his descriptor of it: an OFD lock's owner is the description
// itself, and a process's locks went already when it closed its own.
void Locks::released(std::uint64_t handle) {
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    const auto waiter = at++;
    if (waiter->handle == handle) end(waiter, EINTR);  // its task was killed
  }
  bool any = false;
  std::set<std::uint64_t> nodes;
  for (auto at = held_.begin(); at != held_.end();) {
    const auto held = at++;
    if (!held->second.handles.erase(handle) || !held->second.handles.empty()) continue;
    nodes.insert(held->first.first);
    held_.erase(held);
    any = true;
  }
  for (const std::uint64_t node : nodes) leave_wal_index(node);
  if (const auto file = flocked_.extract(handle)) {
    give_up(*file.mapped());
    any = true;
  }
  if (any) unlocks_.announce();
}

// ------------------------------------------------------------------------------------------------------ flock

void Locks::flock(const std::shared_ptr<OpenFile>& file, std::uint64_t handle, int operation,
                  std::uint64_t wait, Done done) {
  const auto attempt = [this, file, handle, operation] {
    if (!file->fd) return EBADF;
    // A description that home has passed holds what its holders there hold.
    const int fd = file->description ? file->description->fd() : file->fd.get();
    if (::flock(fd, operation | LOCK_NB) != 0) {
      const int error = errno;
      if (error == EAGAIN && flocked_.erase(handle))
        unlocks_.announce();  // could not be converted, and is lost
      return error;
    }
    if (operation == LOCK_UN)
      flocked_.erase(handle);
    else
      flocked_.emplace(handle, file);
    if (operation != LOCK_EX) unlocks_.announce();
    return 0;
  };
  try_or_wait(wait, handle, attempt, std::move(done));
}

// ------------------------------------------------------------------------------------------------------- wait

void Locks::try_or_wait(std::uint64_t wait, std::uint64_t handle, std::function<int()> attempt, Done done) {
  const int error = attempt();
  if (error != EAGAIN || wait == 0) return done(error);
  waiters_.push_back({wait, handle, std::move(attempt), std::move(done), first_delay_ms,
                      uv_now(loop_.uv()) + first_delay_ms});
  schedule();
}

void Locks::cancel(std::uint64_t wait) {
  const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                  [&](const Waiter& waiter) { return waiter.wait == wait; });
  if (found != waiters_.end()) end(found, EINTR);
}

void Locks::end(std::list<Waiter>::iterator waiter, int error) {
  const auto done = std::move(waiter->done);
  waiters_.erase(waiter);
  done(error);
}

// Deferred: it is heard in the middle of all that gives up a lock.
void Locks::unlocked() {
  if (waiters_.empty() || due_) return;
  due_ = true;
  loop_.defer([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->due_ = false;
    for (auto& waiter : self->waiters_) waiter.due = 0;
    self->retry();
  });
}

// All of them, also those that are not due yet: who has waited longer comes first.
void Locks::retry() {
  const auto now = uv_now(loop_.uv());
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    const auto waiter = at++;
    if (const int error = waiter->attempt(); error != EAGAIN) {
      end(waiter, error);
      continue;
    }
    if (waiter->due > now) continue;
    waiter->delay = std::min(waiter->delay * 2, last_delay_ms);
    waiter->due = now + waiter->delay;
  }
  schedule();
}

void Locks::schedule() {
  if (waiters_.empty()) return timer_.stop();
  const auto next = std::min_element(waiters_.begin(), waiters_.end(),
                                     [](const Waiter& a, const Waiter& b) { return a.due < b.due; });
  const auto now = uv_now(loop_.uv());
  timer_.once(next->due > now ? next->due - now : 1, [this] { retry(); });
}

}  // namespace ssi
