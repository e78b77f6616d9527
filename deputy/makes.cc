// SPDX-License-Identifier: LGPL-2.1-or-later
// What a guest's jobs may make before home has (wire.h, Makes): in quiet directories, where nothing stands against it.
#include <sys/statvfs.h>

#include "common/file_time.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// Where somebody else has changed a name, others than its job make, remove and move things: for so long home is asked about each.
constexpr std::chrono::seconds quiet_after{10};

wire::Attr attr_now(int dir) {
  struct statx status;
  return stat_of(dir, status) == 0 ? attr_of(status) : wire::Attr{};
}

}  // namespace

void FileService::begin(std::uint64_t job) {
  recorded_.try_emplace(job);
  began_[job] = wall_clock();
}

void FileService::job_over(std::uint64_t job) {
  began_.erase(job);
  started(job);
  reserved_.end(job);
  effects_.own_directories().end(this, job);
}

bool FileService::may_name(std::uint64_t node) {
  return node == 0 || (node >= wire::agents_nodes && node < 2 * wire::agents_nodes && !nodes_.find(node));
}

std::uint8_t FileService::room_at(int fd) {
  struct statvfs space;
  return ::fstatvfs(fd, &space) == 0 && wire::has_room(space_of(space)) ? 1 : 0;
}

wire::Made FileService::made(const wire::Entry& entry, Node& dir, int dir_fd) {
  wire::Made made{entry.node, entry.fs, entry.attr, entry.target};
  if (const auto parent = tell_attr(dir, dir_fd)) {
    names_[dir.number].mtime = parent->mtime;
    if (!parent->brief) made.parent = *parent;
  }
  return made;
}

// Two for each that is used: soon so many are on their way that the job need not wait for more.
void FileService::reserve_more(wire::Made& made, int dir, const wire::Caller& caller, bool used_one) {
  constexpr std::size_t first = 8;
  if (caller.job == 0 || (!used_one && reserved_.of(caller.job) >= first)) return;
  made.inodes = reserved_.reserve(dir, callers_.rights(caller), caller.job, used_one ? 2 : first);
}

// ---------------------------------------------------------------------------------------------- whether it is quiet

// Before a change of ours, and at what is heard of others. What was changed before the jobs of this guest began was made ready
// for them: nobody need still be at work there.
void FileService::look_for_others(Node& dir, int fd) {
  const auto is = attr_now(fd);
  if (is.mtime == names_[dir.number].mtime) return;
  const auto now = wall_clock();
  auto since = now;
  for (const auto& [job, began] : began_) since = std::min(since, began <= now ? began : 0);  // the clock may have been set back
  // Not its mtime, which tar and rsync set back when they have filled it.
  if (is.ctime > std::max(since, now - std::chrono::nanoseconds(quiet_after).count())) met_others(dir);
}

void FileService::note_own(Node& dir, int fd) {
  names_[dir.number].mtime = attr_now(fd).mtime;
}

void FileService::met_others(const Node& dir) {
  names_[dir.number].others = std::chrono::steady_clock::now();
  effects_.own_directories().take_back(dir.id, [] {});
}

bool FileService::is_quiet(std::uint64_t dir) const {
  const auto known = names_.find(dir);
  return known == names_.end() || std::chrono::steady_clock::now() - known->second.others > quiet_after;
}

// A directory that was made in another is as quiet as that.
bool FileService::takes_over(std::uint64_t parent, const Node& dir) {
  if (is_quiet(parent)) return true;
  names_[dir.number].others = names_[parent].others;
  return false;
}

// Something was heard of them.
void FileService::look_for_others(const std::unordered_set<std::uint64_t>& dirs) {
  for (const auto number : dirs) {
    const auto known = names_.find(number);
    const auto dir = known == names_.end() || known->second.mtime == 0 ? fails(ESTALE) : hold(number);
    if (dir) look_for_others(*dir->node, dir->fd());
  }
}

wire::Makes FileService::lease_of(Node& dir, int fd, std::uint64_t job) {
  if (job == 0 || !is_quiet(dir.number) || listen(dir) == Watch::Heard::no || room_at(fd) == 0 || !policy_.is_plain(dir))
    return wire::Makes::nothing;
  return own(dir, job) ? wire::Makes::files : wire::Makes::nothing;
}

bool FileService::own(const Node& dir, std::uint64_t job) {
  return effects_.own_directories().add(
      dir.id, this, job, [weak = weak_from_this(), number = dir.number](std::function<void()> done) {
        const auto self = weak.lock();
        if (!self) return;
        self->names_[number].others = std::chrono::steady_clock::now();
        self->session_.call(wire::Revoke{number}, {}, [done = std::move(done)](const auto&, std::string_view) { done(); });
      });
}

}  // namespace ssi
