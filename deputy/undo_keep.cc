// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/undo_keep.h"

#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <utility>

#include "common/file_time.h"
#include "common/listener.h"
#include "common/log.h"
#include "deputy/file_copy.h"

namespace ssi {
namespace {

constexpr std::uint64_t aligned = 64 << 10;  // a clone begins at a block of any file system
constexpr std::size_t buffer_size = 1 << 20;
constexpr std::size_t most_undone_held = 1000;  // descriptors, of all journals

std::string our_name() {
  static std::random_device random;
  const auto number = std::uint64_t{random()} << 32 | random();
  return std::string(UndoKeep::prefix) + std::to_string(::geteuid()) + "-" + std::to_string(number);
}

std::uint64_t mount_of(int fd) {
  struct statx status;
  return stat_of(fd, status) == 0 ? status.stx_mnt_id : 0;
}

std::string path_of_fd(int fd) {
  char path[4096];
  const auto size = ::readlink(ProcPath(fd).c_str(), path, sizeof path);
  return size > 0 && size < static_cast<ssize_t>(sizeof path)
             ? std::string(path, static_cast<std::size_t>(size))
             : std::string();
}

// Its times are not to tell that something of ours was in it.
template <class F>
void unnoticed(int dir, const F& f) {
  struct stat before;
  const bool seen = ::fstatat(dir, "", &before, AT_EMPTY_PATH) == 0;
  f();
  const timespec times[2] = {{0, UTIME_OMIT}, before.st_mtim};
  if (seen) ::utimensat(AT_FDCWD, ProcPath(dir).c_str(), times, 0);
}

// The directory of the file, then those above it on the same mount: the topmost that may be written to.
Fd topmost_writable(int fd, std::uint64_t mount) {
  constexpr int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  Fd at(::openat(fd, ".", flags));
  if (!at) {
    const auto path = path_of_fd(fd);
    const auto slash = path.rfind('/');
    if (slash != std::string::npos) at.reset(::open(path.substr(0, slash + 1).c_str(), flags));
  }
  Fd best;
  for (int depth = 0; at && mount_of(at.get()) == mount && depth < 4096; ++depth) {
    if (::faccessat(at.get(), ".", W_OK | X_OK, AT_EACCESS) == 0) best = at.duplicate();
    struct statx here, above;
    Fd up(::openat(at.get(), "..", flags));
    if (!up || stat_of(at.get(), here) != 0 || stat_of(up.get(), above) != 0 || id_of(here) == id_of(above))
      break;
    at = std::move(up);
  }
  return best;
}

void remove_names(int dir) {
  const int listed = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* names = listed < 0 ? nullptr : ::fdopendir(listed);
  if (!names) return;
  while (const auto* entry = ::readdir(names))
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..")
      ::unlinkat(dir, entry->d_name, 0);
  ::closedir(names);
}

bool is_ours(std::string_view name) {
  return name.starts_with(std::string(UndoKeep::prefix) + std::to_string(::geteuid()) + "-");
}

}  // namespace

struct UndoKeep::Shelf {
  std::uint64_t mount = 0;
  Fd place;  // where our directory is, or would be
  bool in_state = false;
  Fd links;          // our directory, once it is needed
  std::string name;  // of it
  std::string
      record;  // how its path is known in the state directory: should we die; "": it lies there itself
  Fd store;
  std::uint64_t end = 0;  // of the store
  bool clones = true;     // as far as is known
  bool nameless = false;  // files without a name can be made there
  bool removed = false;   // what it had; descriptors stay for those who use them now
};

UndoKeep::UndoKeep(std::string state, std::uint64_t bytes, std::shared_ptr<UndoRoom> room)
    : state_(std::move(state)), room_(std::move(room)), bytes_(bytes), most_(bytes) {
  room_->add(*this);
}

UndoKeep::~UndoKeep() {
  room_->remove(*this);
  remove_all();
}

void UndoKeep::forfeit(const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (forfeited_.empty()) forfeited_ = why;
  over_ = true;
}

std::string UndoKeep::forfeited() const {
  const std::lock_guard lock(mutex_);
  return forfeited_;
}

bool UndoKeep::empty() const {
  const std::lock_guard lock(mutex_);
  return shelves_.empty();
}

bool UndoKeep::give_up() {
  forfeit("what was kept to undo its changes had to make room on the disk");
  remove_all();
  return !empty();
}

// Nobody adds a shelf, or to one, when it is forfeited.
void UndoKeep::remove_all() {
  const std::lock_guard lock(removing_);
  removed_ = true;
  {
    std::unique_lock list(mutex_);
    const auto files = std::exchange(files_, {});
    list.unlock();
    room_->let_go(files.size());
  }
  for (const auto& shelf : shelves_) {
    if (shelf->store) (void)::ftruncate(shelf->store.get(), 0);
    if (!shelf->links || std::exchange(shelf->removed, true)) continue;
    remove_names(shelf->links.get());
    unnoticed(shelf->place.get(), [&] { ::unlinkat(shelf->place.get(), shelf->name.c_str(), AT_REMOVEDIR); });
    if (!shelf->record.empty()) ::unlink(shelf->record.c_str());
  }
}

Fd UndoKeep::claim(const std::string& state) {
  Fd claimed(::open(state.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!claimed) return claimed;
  if (::flock(claimed.get(), LOCK_EX | LOCK_NB) == 0) sweep(state);
  ::flock(claimed.get(), LOCK_SH);  // another one's sweep is soon over
  return claimed;
}

void UndoKeep::sweep(const std::string& state) {
  DIR* names = ::opendir(state.c_str());
  if (!names) return;
  while (const auto* entry = ::readdir(names)) {
    if (!is_ours(entry->d_name)) continue;
    const auto path = state + "/" + entry->d_name;
    char target[4096];
    const auto size = ::readlink(path.c_str(), target, sizeof target);
    const auto left = size > 0 ? std::string(target, static_cast<std::size_t>(size)) : path;
    const Fd dir(::open(left.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status;
    if (dir && is_ours(left.substr(left.rfind('/') + 1)) &&
        ::fstatat(dir.get(), "", &status, AT_EMPTY_PATH) == 0 && status.st_uid == ::geteuid()) {
      remove_names(dir.get());
      ::rmdir(left.c_str());
    }
    if (size > 0) ::unlink(path.c_str());
  }
  ::closedir(names);
}

UndoKeep::Shelf& UndoKeep::shelf_for(int fd) {
  const auto mount = mount_of(fd);
  for (const auto& shelf : shelves_)
    if (shelf->mount == mount) return *shelf;
  auto shelf = std::make_unique<Shelf>();
  shelf->mount = mount;
  if (!state_.empty()) shelf->place.reset(::open(state_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  shelf->in_state = shelf->place && mount_of(shelf->place.get()) == mount;
  if (!shelf->in_state) shelf->place = topmost_writable(fd, mount);
  shelves_.push_back(std::move(shelf));
  return *shelves_.back();
}

Result<UndoKeep::Link> UndoKeep::link(int dir, const std::string& name, const FileId& is) {
  const std::lock_guard lock(mutex_);
  if (!forfeited_.empty()) return failure(forfeited_);
  auto& shelf = shelf_for(dir);
  if (!shelf.place) return os_error("no place to keep it", EACCES);
  if (const auto file = hold(shelf, dir, name, is)) return Link{file, -1, {}};
  if (!shelf.links) {
    shelf.name = our_name();
    const auto path = path_of_fd(shelf.place.get());
    if (!shelf.in_state && !state_.empty()) {
      shelf.record = state_ + "/" + shelf.name;
      if (::symlink((path + "/" + shelf.name).c_str(), shelf.record.c_str()) != 0)
        return os_error(shelf.record);
    }
    Status made;
    unnoticed(shelf.place.get(), [&] {
      if (::mkdirat(shelf.place.get(), shelf.name.c_str(), 0700) != 0)
        made = os_error(path + "/" + shelf.name);
    });
    if (!made) return tl::make_unexpected(made.error());
    shelf.links.reset(
        ::openat(shelf.place.get(), shelf.name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!shelf.links) return os_error(path + "/" + shelf.name);
  }
  Link link{{}, shelf.links.get(), std::to_string(++links_)};
  if (::linkat(dir, name.c_str(), link.dir, link.name.c_str(), 0) != 0)
    return os_error("a second name for it");
  struct statx status;
  if (stat_at(link.dir, link.name.c_str(), status) == 0 && id_of(status) == is) return link;
  ::unlinkat(link.dir, link.name.c_str(), 0);
  return os_error("a second name for it", ESTALE);
}

// If a copy of it, which its user can make, would be the same.
Descriptor UndoKeep::hold(Shelf& shelf, int dir, const std::string& name, const FileId& is) {
  if (!S_ISREG(is.type) || !make_store(shelf) || !shelf.nameless) return {};
  const auto file = std::make_shared<const Fd>(
      ::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct statx status;
  if (!*file || stat_of(file->get(), status) != 0 || !(id_of(status) == is)) return {};
  const auto names = xattrs_of(file->get());
  const bool ours = ::geteuid() == 0 || (status.stx_uid == ::geteuid() && status.stx_gid == ::getegid() &&
                                         std::ranges::all_of(names, [](const std::string& name) {
                                           return name.starts_with("user.") || name.starts_with("system.posix_acl_");
                                         }));
  if (!ours || status.stx_size > most_ - held_bytes_ || !room_->hold()) return {};
  held_bytes_ += status.stx_size;
  files_.push_back(file);
  return file;
}

Descriptor UndoKeep::Link::reach() const {
  if (dir < 0) return file.lock();
  auto fd = std::make_shared<const Fd>(::openat(dir, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return *fd ? fd : nullptr;
}

Result<Fd> UndoKeep::copy_of(const Link& link) {
  const auto file = link.reach();
  if (!file) return failure("it is kept no more");
  std::unique_lock lock(mutex_);
  Fd made(::openat(shelf_for(file->get()).place.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  lock.unlock();  // a copy takes a disk's time
  if (!made) return os_error("a copy of it");
  if (auto copied = copy_file(file->get(), made.get()); !copied) return tl::make_unexpected(copied.error());
  return made;
}

void UndoKeep::unlink(const Link& link) {
  if (link.dir < 0) {
    const std::lock_guard lock(mutex_);
    const auto gone = std::erase(files_, link.file.lock());
    return room_->let_go(gone);
  }
  ::unlinkat(link.dir, link.name.c_str(), 0);
}

Status UndoKeep::make_store(Shelf& shelf) {
  if (shelf.store) return {};
  if (shelf.place) {
    shelf.store.reset(::openat(shelf.place.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    shelf.nameless = static_cast<bool>(shelf.store);
    if (shelf.store) return {};
  }
  // There only copies can be kept.
  if (!state_.empty()) shelf.store.reset(::open(state_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  shelf.clones = false;
  return shelf.store ? Status() : os_error("a place for what it overwrites");
}

bool UndoKeep::clone(int file, std::uint64_t size, std::vector<Piece>& pieces) {
  const Fd source(::open(ProcPath(file).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::unique_lock lock(mutex_);
  if (!source || !forfeited_.empty()) return false;
  auto& shelf = shelf_for(file);
  if (!make_store(shelf) || !shelf.clones) return false;
  const auto place = (shelf.end + aligned - 1) / aligned * aligned;
  shelf.end = place + size;
  const int store = shelf.store.get();
  lock.unlock();  // it may wait for what is dirty of the file
  file_clone_range range{source.get(), 0, 0, place};
  if (::ioctl(store, FICLONERANGE, &range) == 0) {
    pieces.push_back({0, size, store, place});
    return true;
  }
  lock.lock();
  shelf.clones = false;
  return false;
}

Status UndoKeep::save(int file, std::uint64_t from, std::uint64_t to, std::vector<Piece>& pieces) {
  const Fd source(::open(ProcPath(file).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!source) return os_error("read it");
  std::unique_lock lock(mutex_);
  if (!forfeited_.empty()) return failure(forfeited_);
  auto& shelf = shelf_for(file);
  if (const auto made = make_store(shelf); !made) return made;
  const auto place = std::exchange(shelf.end, shelf.end + (to - from));
  const int store = shelf.store.get();
  lock.unlock();  // or the loop would wait for a disk
  return copy(source.get(), {from, to, store, place}, pieces);
}

bool UndoKeep::take(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!forfeited_.empty() || bytes > bytes_) return false;
  bytes_ -= bytes;
  return true;
}

// Data is copied, holes are noted.
Status UndoKeep::copy(int from, Piece whole, std::vector<Piece>& pieces) {
  std::string buffer;
  const auto end = whole.to;
  for (auto at = whole.from; at < end;) {
    const auto data = ::lseek(from, static_cast<off_t>(at), SEEK_DATA);
    const auto begin =
        data < 0 ? (errno == ENXIO ? end : at) : std::min(static_cast<std::uint64_t>(data), end);
    if (begin > at) pieces.push_back({at, begin});
    if (begin == end) return {};
    const auto hole = ::lseek(from, static_cast<off_t>(begin), SEEK_HOLE);
    const auto stop = hole < 0 ? end : std::min(static_cast<std::uint64_t>(hole), end);
    if (!take(stop - begin))
      return failure("it changed more than can be undone (" + std::to_string(most_ >> 20) + " MiB)");
    pieces.push_back({begin, stop, whole.store, whole.at + (begin - whole.from)});
    for (at = begin; at < stop;) {
      if (over_) return failure("its changes are kept no more");
      buffer.resize(std::min<std::size_t>(buffer_size, stop - at));
      const auto got = ::pread(from, buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (got < 0) return os_error("read it");
      if (got == 0) return failure("it became shorter meanwhile");
      const auto size = static_cast<std::size_t>(got);
      const auto put =
          ::pwrite(whole.store, buffer.data(), size, static_cast<off_t>(whole.at + (at - whole.from)));
      if (put != got) return os_error("copy it", put < 0 ? errno : ENOSPC);
      at += size;
    }
  }
  return {};
}

Status UndoKeep::restore(int file, const Piece& piece) {
  const auto length = piece.to - piece.from;
  if (piece.store < 0 && ::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     static_cast<off_t>(piece.from), static_cast<off_t>(length)) == 0)
    return {};
  std::string buffer(std::min<std::size_t>(buffer_size, length), '\0');
  for (std::uint64_t done = 0; done < length;) {
    const auto part = std::min<std::size_t>(buffer.size(), length - done);
    const auto got =
        piece.store < 0 ? static_cast<ssize_t>(part)
                        : ::pread(piece.store, buffer.data(), part, static_cast<off_t>(piece.at + done));
    if (got != static_cast<ssize_t>(part)) return os_error("read what was kept", got < 0 ? errno : EIO);
    const auto put = ::pwrite(file, buffer.data(), part, static_cast<off_t>(piece.from + done));
    if (put <= 0) return os_error("write", put < 0 ? errno : EIO);
    done += static_cast<std::size_t>(put);
  }
  return {};
}

bool UndoRoom::hold() {
  if (held_ >= std::min(most_undone_held, descriptor_limit() / 4)) return false;
  ++held_;
  return true;
}

void UndoRoom::add(UndoKeep& keep) {
  const std::lock_guard lock(mutex_);
  keeps_.push_back(&keep);
}

void UndoRoom::remove(UndoKeep& keep) {
  const std::lock_guard lock(mutex_);
  std::erase(keeps_, &keep);
}

bool UndoRoom::make() {
  const std::lock_guard lock(mutex_);
  bool any = false;
  for (auto* keep : keeps_) any |= keep->give_up();
  if (any && said_.is_due()) log::warning("a disk is full: what was kept to undo jobs' changes makes room");
  return any;
}

}  // namespace ssi
