// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/undo_journal.h"

#include <fcntl.h>
#include <linux/fs.h>

#include <algorithm>

#include "deputy/effects.h"
#include "deputy/file_copy.h"

namespace ssi {
namespace {

using Kind = Change::Kind;

constexpr std::uint64_t block = 4096;  // small changes of a file share what is kept
constexpr auto changed_too = "a file that it changed was changed by somebody else too";

void note(UndoFile& file, const wire::Attr& attr) {
  const std::lock_guard lock(file.noting);
  file.left = attr;
}

// One thread at a time, so that what is noted last was seen last.
void note(UndoFile& file, int fd) {
  const std::lock_guard lock(file.noting);
  struct statx status;
  if (stat_of(fd, status) == 0) file.left = attr_of(status);
}

void note(UndoFile& file, int dir, std::string_view name) {
  const std::lock_guard lock(file.noting);
  struct statx status;
  if (stat_at(dir, std::string(name).c_str(), status) == 0 && id_of(status) == file.id)
    file.left = attr_of(status);
}

// Since the job's last change; times of change are not compared, which attributes move as well.
bool unchanged(UndoFile& file, int fd) {
  const std::lock_guard lock(file.noting);
  struct statx status;
  if (stat_of(fd, status) != 0) return false;
  const auto now = attr_of(status);
  const auto* left = file.left ? &*file.left : file.original ? &*file.original : nullptr;
  return !left || (left->mtime == now.mtime && left->size == now.size);
}

// Of a file that the job has made.
bool has_other_names(UndoFile& file) {
  const std::lock_guard lock(file.noting);
  return file.made && !S_ISDIR(file.id.type) && file.left && file.left->nlink > 1;
}

// UndoContent notes these.
bool changes_content(Kind kind) {
  return kind == Kind::write || kind == Kind::truncate || kind == Kind::fallocate || kind == Kind::copy_range;
}

}  // namespace

// --------------------------------------------------------------------------------------------------- content

int UndoContent::run(int file, const std::function<Range()>& range,
                     const std::function<int()>& change) const {
  const auto perform = [&] {
    const int error = change();
    return wants_room(error) && room_->make() ? change() : error;
  };
  if (!file_) return perform();
  if (file_->made) {
    const int error = perform();
    note(*file_, file);
    return error;
  }
  // What one thread keeps, another must not have overwritten.
  const std::lock_guard lock(file_->changing);
  save(file, range());
  const int error = perform();
  note(*file_, file);
  return error;
}

void UndoContent::keep(int file) const {
  const std::lock_guard lock(file_->changing);
  save(file, {});
}

void UndoContent::save(int file, Range range) const {
  if (!unchanged(*file_, file)) return keep_->forfeit(changed_too);
  if (range.from >= range.to) return;
  const auto size = file_->original->size;
  auto& saved = file_->saved;
  auto at = range.from / block * block;
  const auto to = std::min(size, range.to > size ? size : (range.to + block - 1) / block * block);
  if (at < to && saved.empty() && keep_->clone(file, size, file_->pieces)) saved[0] = size;
  while (at < to) {
    const auto next = saved.upper_bound(at);
    const auto before = next == saved.begin() ? saved.end() : std::prev(next);
    if (before != saved.end() && before->second > at) {
      at = before->second;
      continue;
    }
    const auto end = next == saved.end() ? to : std::min(to, next->first);
    if (const auto kept = keep_->save(file, at, end, file_->pieces); !kept)
      return keep_->forfeit(kept.error().text());
    if (before != saved.end() && before->second == at)
      before->second = end;
    else
      saved[at] = end;
    at = end;
  }
}

// --------------------------------------------------------------------------------------------------- journal

// Files lead to each other: those above, as it was and as it is.
UndoJournal::~UndoJournal() {
  keep_->room().let_go(held_);
  for (auto& [id, weak] : by_id_)
    if (const auto file = weak.lock()) file->was = file->is = {};
}

UndoFilePtr UndoJournal::find(const FileId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.lock();
}

UndoFilePtr UndoJournal::add(const FileId& id, UndoFile::Spot spot) {
  if (by_id_.size() >= prune_at_) {
    std::erase_if(by_id_, [](const auto& each) { return each.second.expired(); });
    prune_at_ = 2 * by_id_.size() + 1024;
  }
  auto file = std::make_shared<UndoFile>();
  file->id = id;
  file->was = file->is = std::move(spot);
  by_id_[id] = file;
  return file;
}

UndoFilePtr UndoJournal::know(const Node& node) {
  if (auto known = find(node.id)) return known;
  if (node.nameless) return add(node.id, {});
  return add(node.id, {node.parent ? know(*node.parent) : nullptr, node.name});
}

UndoFilePtr UndoJournal::know(const UndoFilePtr& dir, std::string_view name, const FileId& id) {
  if (auto known = find(id)) return known;
  return add(id, {dir, std::string(name)});
}

void UndoJournal::touch(const UndoFilePtr& file, int fd) {
  if (file->made || file->original) return;
  struct statx status;
  if (stat_of(fd, status) != 0) return forfeit("a file that it changed cannot be looked at");
  file->original = attr_of(status);
  if (file->is.name.empty() && !hold(*file, Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3))))
    forfeit("it changed more files without a name than can be held");
  touched_.push_back(file);
}

bool UndoJournal::hold(UndoFile& file, Fd fd) {
  if (file.held) return true;
  if (!keep_->room().hold()) return false;
  ++held_;
  file.held = std::move(fd);
  return true;
}

void UndoJournal::keep_xattr(const UndoFilePtr& file, int fd, const std::string& name) {
  if (!file->made && !file->xattrs.contains(name)) file->xattrs[name] = xattr_of(fd, name);
}

// A name of it is about to go: of a directory all is remembered, any other file is kept when it is the last one. (Before, a descriptor
// does, since it has others.) True: just now.
bool UndoJournal::keep_name(const UndoFilePtr& file, int dir, std::string_view name) {
  if (file->made || file->link) return false;
  Fd fd(::openat(dir, std::string(name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  touch(file, fd.get());
  check_unchanged(*file, fd.get());
  if (S_ISDIR(file->id.type)) {
    for (const auto& each : xattrs_of(fd.get())) keep_xattr(file, fd.get(), each);
    return false;
  }
  struct statx status;
  if (stat_of(fd.get(), status) == 0 && status.stx_nlink > 1 && hold(*file, std::move(fd))) return false;
  const auto link = keep_->link(dir, std::string(name), file->id);
  if (!link) {
    forfeit("it removed " + std::string(name) + ", which could not be kept: " + link.error().text());
    return false;
  }
  file->link = *link;
  parted_.push_back(file);
  return true;
}

void UndoJournal::bind(const UndoFilePtr& dir, std::string_view name, const UndoFilePtr& was,
                       const UndoFilePtr& is) {
  const auto [at, isnew] = names_.try_emplace({dir, std::string(name)}, Binding{was, is});
  at->second.is = is;
  if (at->second.was == at->second.is) names_.erase(at);
}

void UndoJournal::lost_name(const UndoFilePtr& file, const UndoFilePtr& dir, std::string_view name) {
  if (S_ISDIR(file->id.type)) {
    file->gone = true;
    by_id_.erase(file->id);  // its number may come again
  }
  if (file->is.dir == dir && file->is.name == name) file->is = {};
}

void UndoJournal::check_unchanged(UndoFile& file, int fd) {
  if (file.made || S_ISDIR(file.id.type) || !file.changing.try_lock()) return;  // or a thread is at it
  if (!unchanged(file, fd)) forfeit(changed_too);
  file.changing.unlock();
}

void UndoJournal::check_limits() {
  if (names_.size() + touched_.size() > limits_.entries)
    forfeit("it changed more than can be undone (" + std::to_string(limits_.entries) + " files and names)");
}

UndoJournal::Concerned UndoJournal::before(const Change& change) {
  clean_ = false;
  Concerned files;
  if (!complete()) return files;
  check_limits();
  const auto place = [&](const Change::Place& place, UndoFilePtr& dir, UndoFilePtr& file) {
    dir = know(*place.dir);
    touch(dir, place.fd);
    if (place.is) file = know(dir, place.name, *place.is);
  };
  if (change.place) place(*change.place, files.dir, files.file);
  if (change.to) place(*change.to, files.to_dir, files.to_file);
  if (change.node && change.kind != Kind::create) {
    files.node = know(*change.node);
    touch(files.node, change.fd);
    check_unchanged(*files.node, change.fd);
  }
  switch (change.kind) {
    case Kind::create:
      if (files.file && change.flags & O_TRUNC) forfeit("it truncated what somebody else just made");
      break;
    case Kind::setxattr:
    case Kind::removexattr:
      keep_xattr(files.node, change.fd, std::string(change.attribute));
      break;
    case Kind::unlink:
    case Kind::rmdir:
      if (!files.file) break;
      files.file_kept = keep_name(files.file, change.place->fd, change.place->name);
      if (has_other_names(*files.file))
        files.last.reset(::openat(change.place->fd, std::string(change.place->name).c_str(),
                                  O_PATH | O_NOFOLLOW | O_CLOEXEC));
      break;
    case Kind::rename:
      if (change.flags & RENAME_WHITEOUT) forfeit("it made a whiteout");
      if (files.file && !files.file->made) {
        const Fd fd(::openat(change.place->fd, std::string(change.place->name).c_str(),
                             O_PATH | O_NOFOLLOW | O_CLOEXEC));
        touch(files.file, fd.get());
        check_unchanged(*files.file, fd.get());
      }
      if (!files.to_file || files.to_file == files.file) break;
      if (!(change.flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
        files.to_file_kept = keep_name(files.to_file, change.to->fd, change.to->name);
      if (has_other_names(*files.to_file))
        files.last.reset(
            ::openat(change.to->fd, std::string(change.to->name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      break;
    default:
      break;
  }
  return files;
}

void UndoJournal::after(const Change& change, const Concerned& files, int error) {
  if (!files.dir && !files.node) return;
  const auto take_back = [&](const UndoFilePtr& file, const Change::Place& place) {
    keep_->unlink(*file->link);
    file->link.reset();
    std::erase(parted_, file);
    note(*file, place.fd, place.name);
  };
  if (error) {
    if (files.file_kept) take_back(files.file, *change.place);
    if (files.to_file_kept) take_back(files.to_file, *change.to);
  }
  const auto seen = [&](const Change::Place& place) -> std::optional<struct statx> {
    struct statx status;
    if (stat_at(place.fd, std::string(place.name).c_str(), status) != 0) return {};
    return status;
  };
  if (error) {
  } else if (change.kind == Kind::unlink || change.kind == Kind::rmdir) {
    if (!files.file) return forfeit("it removed what somebody else just made");
    bind(files.dir, change.place->name, files.file, nullptr);
    lost_name(files.file, files.dir, change.place->name);
  } else if (change.kind == Kind::rename) {
    if (!files.file) return forfeit("it moved what somebody else just made");
    if (files.file == files.to_file) return;
    const bool exchanged = change.flags & RENAME_EXCHANGE;
    bind(files.dir, change.place->name, files.file, exchanged ? files.to_file : nullptr);
    bind(files.to_dir, change.to->name, files.to_file, files.file);
    const auto moved = [](const UndoFilePtr& file, const UndoFilePtr& dir, std::string_view from,
                          const UndoFilePtr& to, std::string_view name) {
      if (file->is.dir == dir && file->is.name == from) file->is = {to, std::string(name)};
    };
    if (exchanged && files.to_file)
      moved(files.to_file, files.to_dir, change.to->name, files.dir, change.place->name);
    else if (files.to_file)
      lost_name(files.to_file, files.to_dir, change.to->name);
    moved(files.file, files.dir, change.place->name, files.to_dir, change.to->name);
    note(*files.file, change.to->fd, change.to->name);
    if (exchanged && files.to_file) note(*files.to_file, change.place->fd, change.place->name);
  } else if (change.place && !files.file) {
    const auto status = seen(*change.place);
    if (!status) return forfeit("somebody else removed what it made");
    auto made = files.node;
    if (!made) {
      made = add(id_of(*status), {files.dir, std::string(change.place->name)});
      made->made = true;
    }
    if (made->is.name.empty()) made->is = {files.dir, std::string(change.place->name)};
    bind(files.dir, change.place->name, nullptr, made);
    note(*made, attr_of(*status));
  }
  for (const auto& file : {files.file, files.to_file}) {
    const auto kept = file && file->link ? file->link->reach() : nullptr;
    if (kept)
      note(*file, kept->get());
    else if (file && file->held)
      note(*file, file->held.get());
  }
  if (files.last) note(*(files.to_file ? files.to_file : files.file), files.last.get());
  if (files.node && !changes_content(change.kind)) note(*files.node, change.fd);
  if (files.dir && !files.dir->made) note(*files.dir, change.place->fd);
  if (files.to_dir && !files.to_dir->made) note(*files.to_dir, change.to->fd);
}

std::shared_ptr<void> UndoJournal::made(const struct statx& status) {
  const auto file = add(id_of(status), {});
  file->made = true;
  note(*file, attr_of(status));
  return file;
}

UndoContent UndoJournal::content(std::shared_ptr<UndoRoom> room, const Node& node, int fd,
                                 std::shared_ptr<void> under_way) {
  if (!S_ISREG(node.id.type) || !complete()) return UndoContent(std::move(room));
  const auto file = know(node);
  touch(file, fd);
  if (::geteuid() == 0) keep_xattr(file, fd, "security.capability");  // a write takes it away
  return {std::move(room), file, keep_, std::move(under_way)};
}

std::uint32_t UndoJournal::links_kept(const FileId& id) const {
  const auto file = parted_.empty() || keep_->removed() ? nullptr : find(id);
  return file && file->link && file->link->dir >= 0 ? 1 : 0;
}

}  // namespace ssi
