// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests about a file itself: attributes, links' targets, extended attributes, space.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>

#include "common/file_time.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// Home's clock where the caller asks for "now".
timespec time_wanted(std::uint32_t fields, std::uint32_t set, std::uint32_t now, std::int64_t ns) {
  if (fields & now) return {0, UTIME_NOW};
  if (fields & set) return to_timespec(ns);
  return {0, UTIME_OMIT};
}

int set_size(const OpenFile* file, const ProcPath& path, std::uint64_t size) {
  const auto length = static_cast<off_t>(size);
  // An open file needs no permission any more.
  if (file && file->writable) return ::ftruncate(file->fd.get(), length);
  return ::truncate(path.c_str(), length);
}

int set_owner(int fd, const wire::Setattr& m) {
  const auto uid = m.fields & wire::Setattr::set_uid ? m.uid : static_cast<uid_t>(-1);
  const auto gid = m.fields & wire::Setattr::set_gid ? m.gid : static_cast<gid_t>(-1);
  return ::fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
}

int set_times(const ProcPath& path, const wire::Setattr& m) {
  using S = wire::Setattr;
  const timespec times[2] = {time_wanted(m.fields, S::set_atime, S::atime_now, m.atime),
                             time_wanted(m.fields, S::set_mtime, S::mtime_now, m.mtime)};
  return ::utimensat(AT_FDCWD, path.c_str(), times, 0);
}

// Changing the size changes the times, a new owner takes set-id bits from the mode: hence this order.
int set_attributes(int fd, const OpenFile* file, const wire::Setattr& m) {
  using S = wire::Setattr;
  const ProcPath path(fd);
  if (m.fields & S::set_size && set_size(file, path, m.size) != 0) return -1;
  if (m.fields & (S::set_uid | S::set_gid) && set_owner(fd, m) != 0) return -1;
  if (m.fields & S::set_mode && ::chmod(path.c_str(), m.mode & 07777) != 0) return -1;
  if (m.fields & (S::set_atime | S::set_mtime | S::atime_now | S::mtime_now)) return set_times(path, m);
  return 0;
}

// Calls a getxattr-like function with enough room, also while the value grows.
template <class Get>
Answer<std::string> whole_value(const Get& get) {
  for (;;) {
    const auto size = get(nullptr, 0);
    if (size < 0) return fails(errno);
    std::string value(static_cast<std::size_t>(size), '\0');
    const auto got = get(value.data(), value.size());
    if (got >= 0 && got <= size) {
      value.resize(static_cast<std::size_t>(got));
      return value;
    }
    if (got < 0 && errno != ERANGE) return fails(errno);
  }
}

bool is_attribute_name(std::string_view name) {
  return !name.empty() && name.find('\0') == name.npos;
}

}  // namespace

Answer<wire::Attr> FileService::serve(const wire::Getattr& m) {
  const auto file = m.handle ? handles_.find(m.handle) : nullptr;
  Node* node = nodes_.find(m.node);
  if (file && file->fd && node && file->node == m.node) return tell_attr(*node, file->fd.get());
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  return tell_attr(*held->node, held->fd());
}

void FileService::serve(Id id, const wire::Setattr& m, std::string_view) {
  const auto held = hold(m.node);
  if (!held) return session_.fail(id, held.error());
  if (m.fields & (wire::Setattr::set_mode | wire::Setattr::set_uid | wire::Setattr::set_gid)) open_pending(*held->node);
  if (S_ISDIR(held->node->id.type)) look_for_others(*held->node, held->fd());
  const auto file = m.handle ? handles_.find(m.handle) : nullptr;
  auto result = std::make_shared<int>(0);
  const auto set = [path = held->path, file, m, rights = callers_.rights(m.caller)] {
    return act_as(rights, [&] { return set_attributes(path->get(), file.get(), m); });
  };
  const auto done = [result, id, number = m.node, path = held->path](FileService& self) {
    Node* node = self.nodes_.find(number);
    if (!*result) self.changed_by_guest({node});
    if (node && S_ISDIR(node->id.type)) self.note_own(*node, path->get());
    if (*result || !node) return self.session_.fail(id, *result ? *result : ESTALE);
    self.answer(id, self.tell_attr(*node, path->get()));
  };
  const bool resizes = m.fields & wire::Setattr::set_size;
  const auto job = m.caller.job == 0 && file ? file->job : m.caller.job;
  Change change{.kind = resizes ? Change::Kind::truncate : Change::Kind::attributes,
                .job = job,
                .node = held->node,
                .fd = held->fd()};
  const int error = apply(change, [&] {
    if (!resizes) return set();
    // Freeing a big file's blocks takes a disk's time; the rest is quick.
    const auto work = [undo = content(change), path = held->path, size = m.size, set, result] {
      *result = undo.run(
          path->get(), [&] { return UndoContent::Range{size}; }, set);
    };
    under_way_.begin();
    const auto made = later([done](FileService& self) {
      done(self);
      self.change_made();
    });
    if (file)
      OpenFile::in_order(file, loop_, work, made);
    else
      loop_.queue_work(work, made);
    return 0;
  });
  if (error) return session_.fail(id, error);
  if (!resizes) done(*this);
}

Answer<FileService::Body> FileService::serve(const wire::Readlink& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  char target[PATH_MAX];
  const auto length = ::readlinkat(held->fd(), "", target, sizeof target);
  if (length < 0) return fails(errno == ENOENT ? EINVAL : errno);  // ENOENT: with "", not a symbolic link
  return Body{std::string(target, static_cast<std::size_t>(length))};
}

Answer<wire::Space> FileService::serve(const wire::Statfs& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  struct statvfs space;
  if (::fstatvfs(held->fd(), &space) != 0) return fails(errno);
  return space_of(space);
}

Answer<wire::None> FileService::serve(const wire::Access& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  const auto rights = callers_.rights(m.caller);
  int error = act_as(rights, [&] { return ::faccessat(held->fd(), "", m.mask, AT_EMPTY_PATH | AT_EACCESS); });
  if (!error && m.mask & W_OK) error = Effects::may_change(policy_, *held->node);
  if (error) return fails(error);
  return wire::None{};
}

// Behind an ACL its kernel believes nothing; that it hears no more of it matters, since a notice makes the kernel ignore
// the attributes that are on their way, and judge by the mode of before.
void FileService::attribute_set_by_guest(Node& node, std::string_view name) {
  if (name.starts_with("system.posix_acl_"))
    changed_by_guest({&node});
  else
    retimed_by_guest({&node});
}

void FileService::serve(Id id, const wire::Setxattr& m, std::string_view value) {
  const auto held = hold(m.node);
  if (!held) return session_.fail(id, held.error());
  if (!is_attribute_name(m.name)) return session_.fail(id, EINVAL);
  open_pending(*held->node);
  const ProcPath path(held->fd());
  const auto rights = callers_.rights(m.caller);
  const int error =
      apply({.kind = Change::Kind::setxattr,
             .job = m.caller.job,
             .node = held->node,
             .fd = held->fd(),
             .attribute = m.name},
            [&] {
              return act_as(rights, [&] {
                return ::setxattr(path.c_str(), m.name.c_str(), value.data(), value.size(), m.flags);
              });
            });
  if (!error) attribute_set_by_guest(*held->node, m.name);
  answer_errno(id, error);
}

Answer<FileService::Body> FileService::serve(const wire::Getxattr& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  if (!is_attribute_name(m.name)) return fails(EINVAL);
  const ProcPath path(held->fd());
  auto value = whole_value(
      [&](void* to, std::size_t size) { return ::getxattr(path.c_str(), m.name.c_str(), to, size); });
  if (!value) return fails(value.error());
  return Body{std::move(*value)};
}

Answer<FileService::Body> FileService::serve(const wire::Listxattr& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  const ProcPath path(held->fd());
  auto names = whole_value(
      [&](void* to, std::size_t size) { return ::listxattr(path.c_str(), static_cast<char*>(to), size); });
  if (!names) return fails(names.error());
  return Body{std::move(*names)};
}

Answer<wire::None> FileService::serve(const wire::Removexattr& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  if (!is_attribute_name(m.name)) return fails(EINVAL);
  const ProcPath path(held->fd());
  const auto rights = callers_.rights(m.caller);
  const int error =
      apply({.kind = Change::Kind::removexattr,
             .job = m.caller.job,
             .node = held->node,
             .fd = held->fd(),
             .attribute = m.name},
            [&] { return act_as(rights, [&] { return ::removexattr(path.c_str(), m.name.c_str()); }); });
  if (error) return fails(error);
  attribute_set_by_guest(*held->node, m.name);
  return wire::None{};
}

}  // namespace ssi
