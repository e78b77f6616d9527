// SPDX-License-Identifier: LGPL-2.1-or-later
// Restores what a journal knows. First all is looked at: what is not as the job left it stays, and so does all the rest. Then
// directories that were there come back to their places, those above first, then names of files; what the job made is removed, or
// replaced in one step, so that no name is ever without a file; and at last come content and attributes.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <set>

#include "common/file_time.h"
#include "common/printable.h"
#include "deputy/file_copy.h"
#include "deputy/undo_journal.h"

namespace ssi {
namespace {

constexpr int path_flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
constexpr std::size_t most_open = 256;  // directories

using Spot = UndoFile::Spot;

std::string path_of(const Spot& spot) {
  if (!spot.dir) return spot.name.empty() ? "a file without a name" : spot.name;
  auto path = path_of(spot.dir->is);
  return path + (path.ends_with('/') ? "" : "/") + spot.name;
}

Status differs(const std::string& path) {
  return failure(printable(path) + " is not as the job left it");
}

std::size_t depth(const UndoFile& file, Spot UndoFile::*at) {
  std::size_t depth = 0;
  for (const auto* dir = (file.*at).dir.get(); dir; dir = (dir->*at).dir.get()) ++depth;
  return depth;
}

bool is_directory(const UndoFile& file) {
  return S_ISDIR(file.id.type);
}

}  // namespace

class UndoRollback {
 public:
  explicit UndoRollback(UndoJournal& journal) : journal_(journal) {}
  Status check();
  Status restore();

 private:
  struct Placed {  // what stands at another name until its own is free
    UndoFilePtr file, dir;
    std::string at, name;
  };

  Result<Descriptor> directory(const UndoFilePtr& dir);
  Result<Descriptor> reach(const UndoFilePtr& file);
  Status check_name(const UndoFilePtr& dir, const std::string& name, const UndoJournal::Binding& binding);
  Status check_made(const UndoFilePtr& dir);
  Status check_file(const UndoFilePtr& file);
  Status open_up();
  template <class Put>
  Status put_back(const UndoFilePtr& file, const UndoFilePtr& dir, const std::string& name, const Put& put);
  Status place_directories();
  Status remake();
  Status place_files();
  Status clear();
  Status name_finally();
  Status restore_content(const UndoFilePtr& file, const wire::Attr& now);
  Status restore_attributes(const UndoFilePtr& file);
  Status restore_times(const UndoFilePtr& file);

  UndoJournal& journal_;
  std::map<const UndoFile*, Descriptor> open_;
  std::set<const UndoFile*> keep_times_;  // directories that somebody else has changed as well
  std::set<const UndoFile*> remade_;
  std::set<std::pair<UndoFilePtr, std::string>> free_;  // names whose file has been moved to where it was
  std::vector<Placed> placed_;
  std::set<std::pair<UndoFilePtr, std::string>> replaced_;  // names whose file goes when another one comes back
  std::size_t count_ = 0;
};

Result<Descriptor> UndoRollback::directory(const UndoFilePtr& dir) {
  if (const auto known = open_.find(dir.get()); known != open_.end()) return known->second;
  Descriptor above;
  if (dir->is.dir) {
    auto opened = directory(dir->is.dir);
    if (!opened) return opened;
    above = *opened;
  }
  const auto path = path_of(dir->is);
  auto fd = std::make_shared<const Fd>(
      ::openat(above ? above->get() : AT_FDCWD, dir->is.name.c_str(), path_flags | O_DIRECTORY));
  struct statx status;
  if (dir->gone || !*fd || stat_of(fd->get(), status) != 0 || id_of(status) != dir->id)
    return failure(printable(path) + " is not where the job left it");
  if (open_.size() >= most_open) open_.clear();
  return open_[dir.get()] = fd;
}

Result<Descriptor> UndoRollback::reach(const UndoFilePtr& file) {
  if (is_directory(*file)) return directory(file);
  Fd fd;
  if (!file->is.name.empty()) {
    const auto dir = file->is.dir ? directory(file->is.dir) : Result<Descriptor>(nullptr);
    if (!dir) return dir;
    fd.reset(::openat(*dir ? (*dir)->get() : AT_FDCWD, file->is.name.c_str(), path_flags));
  } else if (file->link) {
    if (const auto kept = file->link->reach()) fd = kept->duplicate();
  } else {
    fd = file->held.duplicate();
  }
  struct statx status;
  if (!fd || stat_of(fd.get(), status) != 0 || id_of(status) != file->id)
    return failure(printable(path_of(file->is)) + " is not where the job left it");
  return std::make_shared<const Fd>(std::move(fd));
}

// ----------------------------------------------------------------------------------------------------- check

Status UndoRollback::check() {
  for (const auto& [place, binding] : journal_.names_)
    if (auto same = check_name(place.first, place.second, binding); !same) return same;
  for (const auto& file : journal_.touched_)
    if (auto same = file->gone ? Status() : check_file(file); !same) return same;
  return remake();
}

// What has no name left cannot be given one: a copy of it can. Now, since there may be no room for it, and nothing is changed yet.
Status UndoRollback::remake() {
  for (const auto& file : journal_.parted_) {
    if (file->link->dir >= 0) continue;
    const auto name = printable(path_of(file->was));
    auto made = journal_.keep_->copy_of(*file->link);
    struct statx status;
    if (!made) return because(name, made.error());
    if (const int error = stat_of(made->get(), status)) return os_error(name, error);
    file->id = id_of(status);
    file->held = std::move(*made);
    file->link.reset();
  }
  return {};
}

Status UndoRollback::check_name(const UndoFilePtr& dir, const std::string& name,
                                const UndoJournal::Binding& binding) {
  if (dir->gone) return {};
  const auto fd = directory(dir);
  if (!fd) return tl::make_unexpected(fd.error());
  struct statx status;
  const int error = stat_at((*fd)->get(), name.c_str(), status);
  const auto path = path_of({dir, name});
  if (error && error != ENOENT) return os_error(path, error);
  if (!binding.is) return error ? Status() : differs(path);
  if (error || id_of(status) != binding.is->id) return differs(path);
  if (!binding.is->made) return {};
  return is_directory(*binding.is) ? check_made(binding.is) : check_file(binding.is);
}

// Nothing in it is somebody else's.
Status UndoRollback::check_made(const UndoFilePtr& dir) {
  const auto fd = directory(dir);
  if (!fd) return tl::make_unexpected(fd.error());
  const int listed = ::openat((*fd)->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* names = listed < 0 ? nullptr : ::fdopendir(listed);
  if (!names) return {};  // the job closed it to itself; what should not be there keeps it from being removed
  Status same;
  while (const auto* entry = same ? ::readdir(names) : nullptr) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && !name.starts_with(UndoKeep::prefix) &&
        !journal_.names_.contains({dir, name}))
      same = differs(path_of({dir, name}));
  }
  ::closedir(names);
  return same;
}

Status UndoRollback::check_file(const UndoFilePtr& file) {
  const auto fd = reach(file);
  if (!fd) return tl::make_unexpected(fd.error());
  struct statx status;
  const auto path = path_of(file->is);
  if (const int error = stat_of((*fd)->get(), status)) return os_error(path, error);
  const auto now = attr_of(status);
  const auto& left = file->left ? *file->left : *file->original;
  if (now.mode != left.mode || now.uid != left.uid || now.gid != left.gid) return differs(path);
  if (is_directory(*file)) {
    if (now.mtime != left.mtime) keep_times_.insert(file.get());
    return {};
  }
  if (now.nlink == 0 && left.nlink != 0) return differs(path);  // it cannot get a name any more
  if (now.size != left.size || now.mtime != left.mtime || now.ctime != left.ctime) return differs(path);
  if (file->made || file->pieces.empty()) return {};
  const Fd written(::open(ProcPath((*fd)->get()).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!written && errno != EACCES) return os_error(path);  // that can be helped
  return {};
}

// --------------------------------------------------------------------------------------------------- restore

Status UndoRollback::restore() {
  for (const auto step : {&UndoRollback::open_up, &UndoRollback::place_directories,
                          &UndoRollback::place_files, &UndoRollback::clear, &UndoRollback::name_finally})
    if (auto done = (this->*step)(); !done) return done;
  for (const auto& file : journal_.touched_)
    if (auto done = restore_attributes(file); !done) return done;
  for (const auto& file : journal_.touched_)
    if (auto done = restore_times(file); !done) return done;
  return {};
}

// The job may have closed directories to its user, and so to us.
Status UndoRollback::open_up() {
  for (const auto& [place, binding] : journal_.names_) {
    const auto fd = place.first->gone ? Result<Descriptor>(nullptr) : directory(place.first);
    if (!fd) return tl::make_unexpected(fd.error());
    struct stat status;
    if (*fd && ::fstatat((*fd)->get(), "", &status, AT_EMPTY_PATH) == 0 &&
        (status.st_mode & S_IRWXU) != S_IRWXU && status.st_uid == ::geteuid())
      ::chmod(ProcPath((*fd)->get()).c_str(), (status.st_mode & 07777) | S_IRWXU);
  }
  return {};
}

// Puts the file where it was, or beside that when the name is taken. `put` does it, given the directory and a name: 0, or -1
// and EEXIST.
template <class Put>
Status UndoRollback::put_back(const UndoFilePtr& file, const UndoFilePtr& dir, const std::string& name,
                              const Put& put) {
  const auto fd = directory(dir);
  if (!fd) return tl::make_unexpected(fd.error());
  auto at = name;
  if (put((*fd)->get(), at.c_str()) != 0) {
    if (errno != EEXIST) return os_error(printable(path_of({dir, name})));
    at = std::string(UndoKeep::prefix) + std::to_string(::getpid()) + "-" + std::to_string(++count_);
    if (put((*fd)->get(), at.c_str()) != 0) return os_error(printable(path_of({dir, at})));
    placed_.push_back({file, dir, at, name});
    if (!is_directory(*file)) replaced_.insert({dir, name});
  }
  file->is = {dir, at};
  return {};
}

Status UndoRollback::place_directories() {
  std::vector<UndoFilePtr> moved;
  for (const auto& [place, binding] : journal_.names_)
    if (binding.was && is_directory(*binding.was)) moved.push_back(binding.was);
  std::ranges::stable_sort(moved, {}, [](const auto& file) { return depth(*file, &UndoFile::was); });
  for (const auto& file : moved) {
    Status done;
    if (file->gone) {
      done = put_back(file, file->was.dir, file->was.name,
                      [](int dir, const char* name) { return ::mkdirat(dir, name, 0700); });
      if (!done) return done;
      const auto dir = directory(file->was.dir);
      struct statx status;
      if (!dir || stat_at((*dir)->get(), file->is.name.c_str(), status) != 0)
        return differs(path_of(file->is));
      file->gone = false;
      file->id = id_of(status);
      remade_.insert(file.get());
      open_.erase(file.get());
      continue;
    }
    const auto from = file->is;
    const auto above = directory(from.dir);
    if (!above) return tl::make_unexpected(above.error());
    done = put_back(file, file->was.dir, file->was.name, [&](int dir, const char* name) {
      return ::renameat2((*above)->get(), from.name.c_str(), dir, name, RENAME_NOREPLACE);
    });
    if (!done) return done;
    free_.insert({from.dir, from.name});
  }
  return {};
}

Status UndoRollback::place_files() {
  std::map<UndoFilePtr, std::vector<std::pair<UndoFilePtr, std::string>>> now;
  for (const auto& [place, binding] : journal_.names_)
    if (binding.is && !binding.is->made && !is_directory(*binding.is)) now[binding.is].push_back(place);
  for (const auto& [place, binding] : journal_.names_) {
    const auto& file = binding.was;
    if (!file || is_directory(*file)) continue;
    auto& names = now[file];
    Status done;
    if (!names.empty()) {
      const auto from = names.back();
      names.pop_back();
      const auto above = directory(from.first);
      if (!above) return tl::make_unexpected(above.error());
      done = put_back(file, place.first, place.second, [&](int dir, const char* name) {
        return ::renameat2((*above)->get(), from.second.c_str(), dir, name, RENAME_NOREPLACE);
      });
      free_.insert(from);
    } else {
      const auto known = file->link || !file->is.dir ? Result<Descriptor>(nullptr) : directory(file->is.dir);
      if (!known) return tl::make_unexpected(known.error());
      const ProcPath itself(file->held.get());
      const int from = file->link ? file->link->dir : *known ? (*known)->get() : AT_FDCWD;
      const std::string called = file->link ? file->link->name : *known ? file->is.name : itself.c_str();
      const int flags = file->link || *known ? 0 : AT_SYMLINK_FOLLOW;
      done = put_back(file, place.first, place.second, [&](int dir, const char* name) {
        return ::linkat(from, called.c_str(), dir, name, flags);
      });
    }
    if (!done) return done;
  }
  return {};
}

// What the job made, and names that it gave: of directories the innermost first.
Status UndoRollback::clear() {
  std::vector<std::pair<std::size_t, const std::pair<UndoFilePtr, std::string>*>> directories;
  const auto remove = [&](const auto& place, int flags) -> Status {
    const auto dir = directory(place.first);
    if (!dir) return tl::make_unexpected(dir.error());
    if (::unlinkat((*dir)->get(), place.second.c_str(), flags) != 0)
      return os_error(printable(path_of({place.first, place.second})));
    return {};
  };
  for (const auto& [place, binding] : journal_.names_) {
    if (!binding.is || free_.contains(place)) continue;
    if (is_directory(*binding.is))
      directories.emplace_back(depth(*binding.is, &UndoFile::is), &place);
    else if (auto done = replaced_.contains(place) ? Status() : remove(place, 0); !done)
      return done;
    if (auto& is = binding.is->is;
        is.dir == place.first && is.name == place.second && !is_directory(*binding.is))
      is = {};  // it had no name before either
  }
  std::ranges::stable_sort(directories, std::greater(), [](const auto& each) { return each.first; });
  for (const auto& [depth, place] : directories)
    if (auto done = remove(*place, AT_REMOVEDIR); !done) return done;
  return {};
}

Status UndoRollback::name_finally() {
  for (const auto& [file, dir, at, name] : placed_) {
    const auto fd = directory(dir);
    if (!fd) return tl::make_unexpected(fd.error());
    const unsigned flags = replaced_.contains({dir, name}) ? 0 : RENAME_NOREPLACE;
    if (::renameat2((*fd)->get(), at.c_str(), (*fd)->get(), name.c_str(), flags) != 0)
      return os_error(printable(path_of({dir, name})));
    if (file->is.dir == dir && file->is.name == at) file->is.name = name;
  }
  return {};
}

Status UndoRollback::restore_content(const UndoFilePtr& file, const wire::Attr& now) {
  if (file->pieces.empty() && now.size == file->original->size) return {};
  const auto fd = reach(file);
  if (!fd) return tl::make_unexpected(fd.error());
  const ProcPath path((*fd)->get());
  Fd written(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!written && errno == EACCES && ::chmod(path.c_str(), (now.mode & 07777) | S_IWUSR) == 0)
    written.reset(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  const auto name = printable(path_of(file->is));
  if (!written || ::ftruncate(written.get(), static_cast<off_t>(file->original->size)) != 0)
    return os_error(name);
  for (const auto& piece : file->pieces)
    if (const auto done = UndoKeep::restore(written.get(), piece); !done) return because(name, done.error());
  return {};
}

Status UndoRollback::restore_attributes(const UndoFilePtr& file) {
  const auto fd = reach(file);
  if (!fd) return tl::make_unexpected(fd.error());
  const ProcPath path((*fd)->get());
  const auto name = printable(path_of(file->is));
  struct statx status;
  if (const int error = stat_of((*fd)->get(), status)) return os_error(name, error);
  const auto& original = *file->original;
  if (S_ISREG(file->id.type))
    if (auto done = restore_content(file, attr_of(status)); !done) return done;
  if (status.stx_uid != original.uid || status.stx_gid != original.gid)
    if (::fchownat((*fd)->get(), "", original.uid, original.gid, AT_EMPTY_PATH) != 0) return os_error(name);
  for (const auto& [xattr, value] : file->xattrs) {
    if (xattr_of((*fd)->get(), xattr) == value) continue;
    const int done = value ? ::setxattr(path.c_str(), xattr.c_str(), value->data(), value->size(), 0)
                           : ::removexattr(path.c_str(), xattr.c_str());
    if (done != 0) return os_error(name + ": " + xattr);
  }
  if (S_ISLNK(file->id.type)) return {};
  if (const int error = stat_of((*fd)->get(), status)) return os_error(name, error);
  if (status.stx_mode != original.mode && ::chmod(path.c_str(), original.mode & 07777) != 0)
    return os_error(name);
  return {};
}

Status UndoRollback::restore_times(const UndoFilePtr& file) {
  if (keep_times_.contains(file.get())) return {};
  const auto fd = reach(file);
  if (!fd) return tl::make_unexpected(fd.error());
  struct statx status;
  const auto name = printable(path_of(file->is));
  if (const int error = stat_of((*fd)->get(), status)) return os_error(name, error);
  const auto now = attr_of(status);
  if (now.mtime == file->original->mtime && now.atime == file->original->atime) return {};
  const timespec times[2] = {to_timespec(file->original->atime), to_timespec(file->original->mtime)};
  if (::utimensat(AT_FDCWD, ProcPath((*fd)->get()).c_str(), times, 0) != 0 &&
      now.mtime != file->original->mtime)
    return os_error(name);
  return {};
}

// -------------------------------------------------------------------------------------------------------------

Status UndoJournal::roll_back() {
  if (const auto why = forfeited(); !why.empty()) return failure(why);
  UndoRollback rollback(*this);
  if (auto same = rollback.check(); !same) return same;
  // From here on it makes no room for anybody: a half of it would be lost.
  keep_->room().remove(*keep_);
  if (const auto why = forfeited(); !why.empty()) return failure(why);
  if (auto done = rollback.restore(); !done) return because("only a part could be undone", done.error());
  keep_->give_up();
  return {};
}

}  // namespace ssi
