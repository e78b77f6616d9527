// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests that look up, make, remove and move names.
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include <climits>

#include "deputy/acl.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// A directory that the guest did not mean: it has come to that name since the guest looked (FUSE sends names alone). The
// guest's kernel takes the one that it knew there for dead from then on (S_DEAD): empty, and ENOENT for all in it, also
// where it lives on under another name. At ESTALE it looks again first. (What comes to the name between our own look and
// the call, within microseconds, goes unseen.)
bool is_stranger(const std::optional<FileId>& is, const Node* node, const Node& dir,
                 const std::string& name) {
  if (!is || !S_ISDIR(is->type) || (node && node->root)) return false;  // a root cannot be removed
  return !node || node->ahead || node->parent != &dir || node->name != name;
}

}  // namespace

Answer<wire::Entry> FileService::serve(const wire::Lookup& m) {
  const auto dir = hold_dir(m.parent, m.name);
  if (!dir) return fails(dir.error());
  if (dir->node->barred) return fails(ENOENT);
  if (m.name.size() <= NAME_MAX) note_lookup(m.caller.job, *dir->node, m.name);
  Fd fd;
  const auto rights = callers_.rights(m.caller);
  const int error = with_room(nodes_, [&] {
    return act_as(rights, [&] {
      fd.reset(::openat(dir->fd(), m.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      return fd.get();
    });
  });
  if (error == ENOENT && dir->heard) {  // it may be remembered
    handed_out_.name(m.parent, m.name, 0);
    return wire::Entry{};
  }
  if (error) return fails(error);
  if (const auto kept = policy_.kept(*dir->node, m.name); kept >= Kept::absent)
    return fails(not_shown(*dir->node, m.name, kept));
  struct statx status;
  if (const int failed = look_at(fd.get(), status)) return fails(failed);
  auto entry = give(*dir->node, m.name, status, std::move(fd));
  if (entry) nodes_.find(entry->node)->looked_up = std::chrono::steady_clock::now();
  return entry;
}

void FileService::serve(const wire::Forget& m) {
  for (const auto& forgotten : m.nodes) nodes_.forget(forgotten.node, forgotten.count);
}

std::optional<FileId> FileService::file_at(int dir, const std::string& name) {
  struct statx status;
  if (stat_at(dir, name.c_str(), status) != 0) return {};
  return id_of(status);
}

Node* FileService::keep_reachable(const std::optional<FileId>& id) {
  Node* node = id ? nodes_.find(*id) : nullptr;
  if (node) static_cast<void>(nodes_.descriptor(*node));  // when that fails, its name was wrong before
  return node;
}

Answer<wire::Made> FileService::make_name(Change::Kind kind, std::uint64_t parent, const std::string& name,
                                          const wire::Caller& caller, const Node* subject, int subject_fd, std::uint64_t as,
                                          const std::function<int(int dir)>& make) {
  const auto dir = hold_dir(parent, name);
  if (!dir) return fails(dir.error());
  if (!may_name(as)) return fails(EINVAL);
  look_for_others(*dir->node, dir->fd());
  const auto rights = callers_.rights(caller);
  const Change change{.kind = kind,
                      .job = caller.job,
                      .node = subject,
                      .fd = subject_fd,
                      .place = Change::Place{dir->node, name, {}, dir->fd()}};
  const int error = apply(change, [&] { return act_as(rights, [&] { return make(dir->fd()); }); });
  if (error) return fails(error);
  changed_by_guest({dir->node, subject});
  auto entry = give_new(*dir->node, dir->fd(), name, as);
  // Somebody else's by now: the guest's kernel would call another kind of file an I/O error, but tries again at ESTALE.
  const auto type = kind == Change::Kind::mkdir     ? S_IFDIR
                    : kind == Change::Kind::symlink ? S_IFLNK
                    : subject                       ? subject->id.type
                                                    : mode_t{0};
  if (entry && type != 0 && (entry->attr.mode & S_IFMT) != type) {
    nodes_.forget(entry->node, 1);
    return fails(ESTALE);
  }
  if (!entry) return fails(entry.error());
  if (!subject) written_.insert(entry->node);
  return made(*entry, *dir->node, dir->fd());
}

Answer<wire::Made> FileService::serve(const wire::Mknod& m) {
  return make_name(Change::Kind::mknod, m.parent, m.name, m.caller, nullptr, -1, 0, [&](int dir) {
    return ::mknodat(dir, m.name.c_str(), mode_in(dir, m.mode, m.umask), m.rdev);
  });
}

// What lies in it from now on is the job's, as far as nobody else comes by.
Answer<wire::Made> FileService::serve(const wire::Mkdir& m) {
  auto made = make_name(Change::Kind::mkdir, m.parent, m.name, m.caller, nullptr, -1, 0, [&](int dir) {
    return ::mkdirat(dir, m.name.c_str(), mode_in(dir, m.mode, m.umask));
  });
  if (!made) return made;
  const auto dir = hold(made->node);
  if (dir) note_own(*dir->node, dir->fd());
  const bool leased = dir && !dir->node->barred && takes_over(m.parent, *dir->node) &&
                      lease_of(*dir->node, dir->fd(), m.caller.job) != wire::Makes::nothing;
  made->makes = static_cast<std::uint8_t>(leased ? wire::Makes::all : wire::Makes::nothing);
  if (!leased) return made;
  listed_.insert(made->node);  // it knows that nothing is in it
  reserve_more(*made, dir->fd(), m.caller, false);
  return made;
}

Answer<wire::Made> FileService::serve(const wire::Symlink& m) {
  if (m.target.find('\0') != m.target.npos) return fails(EINVAL);
  return make_name(Change::Kind::symlink, m.parent, m.name, m.caller, nullptr, -1, m.as,
                   [&](int dir) { return ::symlinkat(m.target.c_str(), dir, m.name.c_str()); });
}

// By way of /proc, which needs no capability where AT_EMPTY_PATH does. Of a symbolic link, the link itself is
// linked: a magic link ends at what it names.
Answer<wire::Made> FileService::serve(const wire::Link& m) {
  const auto file = hold(m.node);
  if (!file) return fails(file.error());
  const ProcPath from(file->fd());
  struct statx status;
  if (effects_.links_kept(file->node->id) != 0 && look_at(file->fd(), status) == 0 && status.stx_nlink == 0)
    return fails(ENOENT);  // it has a name, but that is ours
  auto made = make_name(Change::Kind::link, m.parent, m.name, m.caller, file->node, file->fd(), 0, [&](int dir) {
    return ::linkat(AT_FDCWD, from.c_str(), dir, m.name.c_str(), AT_SYMLINK_FOLLOW);
  });
  if (made) effects_.links().announce(file->node->id);
  return made;
}

Answer<wire::Renamed> FileService::remove_name(const wire::Unlink& m, bool directory) {
  const auto dir = hold_dir(m.parent, m.name);
  if (!dir) return fails(dir.error());
  const auto is = file_at(dir->fd(), m.name);
  if (const auto kept = policy_.kept(*dir->node, m.name); kept >= Kept::absent)
    return fails(is ? not_shown(*dir->node, m.name, kept) : ENOENT);
  look_for_others(*dir->node, dir->fd());
  Node* node = keep_reachable(is);
  const auto rights = callers_.rights(m.caller);
  const Change change{.kind = directory ? Change::Kind::rmdir : Change::Kind::unlink,
                      .job = m.caller.job,
                      .place = Change::Place{dir->node, m.name, is, dir->fd()}};
  const bool meant = !directory || !is_stranger(is, node, *dir->node, m.name);
  const int error = apply(change, [&] {
    if (!meant) return ESTALE;
    return act_as(rights,
                  [&] { return ::unlinkat(dir->fd(), m.name.c_str(), directory ? AT_REMOVEDIR : 0); });
  });
  if (error) return fails(error);
  changed_by_guest({dir->node});
  note_own(*dir->node, dir->fd());
  forget_own_name(m.parent, m.name);
  if (node) nodes_.unnamed(*node, *dir->node, m.name);
  retimed_by_guest({node});
  return wire::Renamed{node ? node->number : 0, 0};
}

Answer<wire::Renamed> FileService::serve(const wire::Unlink& m) {
  return remove_name(m, false);
}

Answer<wire::Renamed> FileService::serve(const wire::Rmdir& m) {
  return remove_name({m.parent, m.name, m.caller}, true);
}

Answer<wire::Renamed> FileService::serve(const wire::Rename& m) {
  const auto dir = hold_dir(m.parent, m.name);
  if (!dir) return fails(dir.error());
  const auto to = hold_dir(m.new_parent, m.new_name);
  if (!to) return fails(to.error());
  const auto is = file_at(dir->fd(), m.name);
  if (const auto kept = policy_.kept(*dir->node, m.name); kept >= Kept::absent)
    return fails(is ? not_shown(*dir->node, m.name, kept) : ENOENT);
  const auto was = file_at(to->fd(), m.new_name);
  look_for_others(*dir->node, dir->fd());
  look_for_others(*to->node, to->fd());
  Node *node = keep_reachable(is), *replaced = keep_reachable(was);
  const bool exchanged = m.flags & RENAME_EXCHANGE;
  const bool replaces = !exchanged && !(m.flags & RENAME_NOREPLACE);
  const bool meant = !replaces || !is_stranger(was, replaced, *to->node, m.new_name);
  const auto rights = callers_.rights(m.caller);
  const Change change{.kind = Change::Kind::rename,
                      .job = m.caller.job,
                      .place = Change::Place{dir->node, m.name, is, dir->fd()},
                      .to = Change::Place{to->node, m.new_name, was, to->fd()},
                      .flags = m.flags};
  const int error = apply(change, [&] {
    if (!meant) return ESTALE;
    return act_as(rights, [&] {
      return ::renameat2(dir->fd(), m.name.c_str(), to->fd(), m.new_name.c_str(), m.flags);
    });
  });
  if (error) return fails(error);
  if (is && is == was) return wire::Renamed{};  // two names of one file: rename(2) leaves both
  changed_by_guest({dir->node, to->node});
  note_own(*dir->node, dir->fd());
  note_own(*to->node, to->fd());
  moved_by_guest({m.parent, m.name}, {m.new_parent, m.new_name}, exchanged, node);
  if (replaced && exchanged)
    nodes_.renamed(*replaced, *dir->node, m.name);
  else if (replaced)
    nodes_.unnamed(*replaced, *to->node, m.new_name);
  if (node) nodes_.renamed(*node, *to->node, m.new_name);
  retimed_by_guest({node, replaced});
  return wire::Renamed{node ? node->number : 0, replaced ? replaced->number : 0};
}

}  // namespace ssi
