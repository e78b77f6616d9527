// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests that open, close and list.
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "deputy/acl.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// What the caller may choose. The file is there already (or Create makes it), links were followed by the
// guest's kernel, and direct I/O would ask for the alignment of buffers that are not his.
constexpr int callers_flags =
    O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME | O_DIRECTORY | O_EXCL;
// O_NONBLOCK: a FIFO that took a regular file's place must not hang us, nor a lease that someone at home
// holds.
constexpr int our_flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_LARGEFILE;

// How long an open takes that was answered with ESTALE: it looks again, and asks for what it found.
constexpr std::chrono::milliseconds another_try{250};

constexpr std::size_t most_opened = 100'000;  // handles; a guest that has more asks for nothing that is served

constexpr std::size_t max_page_bytes = 100 << 10;

bool writes(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

bool may_run(int file, const Rights& rights) {
  return act_as(rights, [&] { return ::faccessat(file, "", X_OK, AT_EMPTY_PATH | AT_EACCESS); }) == 0;
}

}  // namespace

void FileService::add_open(std::uint64_t handle, Node& node, Fd fd, int flags, Rights rights,
                           std::uint64_t job, bool runs) {
  auto file = std::make_shared<OpenFile>();
  file->node = node.number;
  file->fd = std::move(fd);
  file->appends = flags & O_APPEND;
  file->writable = (flags & O_ACCMODE) != O_RDONLY;
  file->runs = runs && !file->writable;
  if (file->runs || file->writable)
    effects_.text_uses().begin(node.id, this, file->runs ? TextUses::runs : TextUses::writes);
  file->rights = std::move(rights);
  file->job = job;
  file->session = weak_from_this();
  handles_.add(handle, std::move(file));
  nodes_.opened(node);
  watch_.keep(node.number, true);
  opened_lately(node);
  if (S_ISREG(node.id.type)) contents_.insert(node.number);
}

// By its lease, so its name was right when the guest opened it. The node stays, whatever happens to its name; most files are never
// asked for, since the guest has their content, so they are opened at their first use. What home has against it shows then.
void FileService::serve(const wire::Opened& m) {
  // One that was closed meanwhile, since its job has ended, is opened once more.
  if (lent_.claim(m.handle) || m.handle == 0 || handles_.find(m.handle) || handles_.size() >= most_opened) return;
  const auto held = hold(m.node);
  const bool can = held && (S_ISREG(held->node->id.type) || S_ISDIR(held->node->id.type));
  auto file = std::make_shared<OpenFile>();
  if (can) {
    file->node = m.node;
    file->rights = callers_.rights(m.caller);
    file->job = m.caller.job;
    file->session = weak_from_this();
    file->unopened = true;
    nodes_.opened(*held->node);
    watch_.keep(m.node, true);
    opened_by_lease_.push_back(m.node);
    opened_lately(*held->node);
    if (S_ISREG(held->node->id.type)) contents_.insert(m.node);
  } else {
    file->error = held ? ENXIO : held.error();
  }
  handles_.add(m.handle, std::move(file));
}

void FileService::serve(const wire::Visited& m) {
  for (const auto number : m.nodes) {
    const Node* node = nodes_.find(number);
    if (!node || !S_ISREG(node->id.type)) continue;
    opened_lately(*node);
    contents_.insert(number);
  }
}

// As the job's own open would; what stands against that, the job finds out by itself.
std::vector<wire::Lent> FileService::lend(std::uint64_t job, const std::string& program, const wire::Caller& caller) {
  std::vector<wire::Lent> lent;
  for (const auto node : lent_.begin(job, program)) {
    const auto held = handed_out_.nodes().contains(node) ? hold(node) : fails(ENOENT);
    struct statx status;
    if (!held || look_at(held->fd(), status) != 0 || status.stx_nlink == 0) {
      lent_.unlearn(program, node);  // another file has its name, perhaps
      continue;
    }
    wire::Open open{node, 0, O_RDONLY, caller, 1};
    if (is_busy(open)) continue;
    open.handle = lent_.lend(job, node);
    lent.push_back({node, open.handle});
    if (const auto opened = this->open(open); !opened || opened->brief) {
      lent.pop_back();
      if (opened) serve(wire::Release{open.handle});
      lent_.claim(open.handle);
    }
  }
  return lent;
}

void FileService::started(std::uint64_t job) {
  for (const auto& lent : lent_.end(job)) serve(wire::Release{lent.handle});
}

void FileService::open_pending(const Node& node) {
  if (node.opens == 0) return;
  handles_.each([&](std::uint64_t handle, const OpenFile& file) {
    if (file.node == node.number && file.unopened) find_open(handle);
  });
}

std::shared_ptr<OpenFile> FileService::find_open(std::uint64_t handle) {
  auto file = handles_.find(handle);
  if (!file || !std::exchange(file->unopened, false)) return file;
  const auto held = hold(file->node);
  if (!held) {
    file->error = held.error();
    return file;
  }
  if (held->node->barred) return file;
  const int directory = S_ISDIR(held->node->id.type) ? O_DIRECTORY : 0;
  file->error = with_room(nodes_, [&] {
    return act_as(file->rights, [&] {
      file->fd.reset(::open(ProcPath(held->fd()).c_str(), O_RDONLY | directory | our_flags));
      return file->fd.get();
    });
  });
  return file;
}

// What this guest itself has open for writing is its kernel's business, which asks for the file before it judges.
bool FileService::is_busy(const wire::Open& m) {
  const auto held = m.exec || writes(m.flags) ? hold(m.node) : fails(ENOENT);
  if (!held || !S_ISREG(held->node->id.type)) return false;
  const auto& id = held->node->id;
  const auto& uses = effects_.text_uses();
  if (!m.exec) return uses.stands_against(id, this, TextUses::writes);
  return uses.stands_against(id, this, TextUses::runs) ||
         (!uses.has(id, this, TextUses::writes) && is_open_for_writing(held->fd()));
}

bool FileService::is_busy(const wire::Create& m) {
  const auto dir = writes(m.flags) && !(m.flags & O_EXCL) ? hold_dir(m.parent, m.name) : fails(ENOENT);
  const auto id = dir ? file_at(dir->fd(), m.name) : std::nullopt;
  return id && effects_.text_uses().stands_against(*id, this, TextUses::writes);
}

bool FileService::is_busy(const wire::Setattr& m) {
  if (!(m.fields & wire::Setattr::set_size)) return false;
  const auto file = m.handle ? handles_.find(m.handle) : nullptr;
  const Node* node = nodes_.find(m.node);
  return node && !(file && file->writable) &&
         effects_.text_uses().stands_against(node->id, this, TextUses::writes);
}

// What it takes away is kept first: of a big file that takes a while.
void FileService::serve(Id id, const wire::Open& m, std::string_view) {
  const auto held = m.flags & O_TRUNC ? hold(m.node) : fails(ENOENT);
  if (!held) return answer(id, open(m));
  const Change change{
      .kind = Change::Kind::truncate, .job = m.caller.job, .node = held->node, .fd = held->fd()};
  auto undo = content(change);
  if (!undo.keeps_much()) return answer(id, open(m));
  loop_.queue_work([undo = std::move(undo), path = held->path] { undo.keep(path->get()); },
                   later([id, m](FileService& self) { self.answer(id, self.open(m)); }));
}

// Runs on the loop, so that a request that is pipelined behind it finds the handle; but for O_TRUNC, for which a guest waits.
Answer<wire::Attr> FileService::open(const wire::Open& m) {
  const auto held = hold(m.node);
  if (!held) return fails(held.error());
  if (m.handle == 0 || handles_.find(m.handle)) return fails(EINVAL);
  Node& node = *held->node;
  // The guest's kernel opens FIFOs, sockets and devices itself, as the guest's own: they never mean home's.
  if (!S_ISREG(node.id.type) && !S_ISDIR(node.id.type)) return fails(S_ISLNK(node.id.type) ? ELOOP : ENXIO);
  // The guest came by a name that it should not believe in any more: it looks again, and with O_CREAT makes a
  // new file. (Who has it open may open it again, by /proc/self/fd.) But the kernel looks again only once, and what is
  // replaced all the time may have lost its name by then as well: at home, too, such a file can be opened.
  struct statx status;
  const auto now = std::chrono::steady_clock::now();
  const bool tries_again = node.looked_up > said_stale_ && now - said_stale_ < another_try;
  if (node.opens == 0 && S_ISREG(node.id.type) && !tries_again && look_at(held->fd(), status) == 0 &&
      status.stx_nlink == 0) {
    said_stale_ = now;
    return fails(ESTALE);
  }
  auto rights = callers_.rights(m.caller);
  Fd fd;
  const auto open_as = [&](const Rights& with) {
    return with_room(nodes_, [&] {
      return act_as(with, [&] {
        fd.reset(::open(ProcPath(held->fd()).c_str(), (m.flags & callers_flags & ~O_EXCL) | our_flags));
        return fd.get();
      });
    });
  };
  const auto open = [&] { return open_as(rights); };
  int error = 0;
  const Change change{.kind = Change::Kind::truncate, .job = m.caller.job, .node = &node, .fd = held->fd()};
  if (m.flags & O_TRUNC)
    error = apply(change, [&] {
      return content(change).run(
          held->fd(), [] { return UndoContent::Range{}; }, open);
    });
  else if (writes(m.flags) && S_ISREG(node.id.type))
    error = Effects::may_change(policy_, node);
  if (!error && !fd && !node.barred) error = open();
  // It may be run and not read: the caller's kernel reads it for him, as home's would, if root's deputy can give it.
  if (error == EACCES && m.exec && may_run(held->fd(), rights) && (error = open_as({})) == EACCES)
    error = wire::hidden;
  if (error) return fails(error);
  // Nothing that is believed: the guest's kernel does not hear of it.
  constexpr std::uint32_t itself = 2;
  const auto heard = listen(node, itself);
  if (const int failed = look_at(fd ? fd.get() : held->fd(), status)) return fails(failed);
  auto attr = attr_of(status);
  attr.brief = heard == Watch::Heard::no;
  if (m.flags & O_TRUNC) emptied_by_guest(node, status);
  add_open(m.handle, node, std::move(fd), m.flags, std::move(rights), m.caller.job, m.exec != 0);
  if (m.exec) lent_.ran(m.caller.job, m.node);
  if (writes(m.flags)) handles_.find(m.handle)->journalled = effects_.opened(m.caller.job, status, false);
  return attr;
}

// A directory that is gone from home, which the guest came by through a name that it should not believe in any more: it
// looks again. Only once, as its kernel does: who stands in it asks for the same directory again, and what is replaced
// all the time is gone again when it was found.
bool FileService::looks_again(Node& dir, int fd) {
  struct statx status;
  if (stat_of(fd, status) != 0 || status.stx_nlink != 0) return false;
  const auto now = std::chrono::steady_clock::now();
  const bool was_found = dir.looked_up > said_gone_ && now - said_gone_ < another_try;
  if (was_found || now - dir.said_gone < another_try) return false;
  dir.said_gone = said_gone_ = now;
  return true;
}

// The node stays nameless, and so its descriptor open, until link(2) gives it a name.
Answer<wire::Made> FileService::create_nameless(const wire::Create& m) {
  const auto dir = hold(m.parent);
  if (!dir) return fails(dir.error());
  if (m.handle == 0 || handles_.find(m.handle)) return fails(EINVAL);
  auto rights = callers_.rights(m.caller);
  Fd fd;
  const int error =
      apply({.kind = Change::Kind::create, .job = m.caller.job, .node = dir->node, .fd = dir->fd()}, [&] {
        return with_room(nodes_, [&] {
          return act_as(rights, [&] {
            fd.reset(::openat(dir->fd(), ".", (m.flags & callers_flags) | O_TMPFILE | our_flags,
                              mode_in(dir->fd(), m.mode & 07777, m.umask)));
            return fd.get();
          });
        });
      });
  // What a file system has against a directory that is gone is its own (ext4: EPERM), and no answer to a path.
  if (error) return fails(looks_again(*dir->node, dir->fd()) ? ESTALE : error);
  struct statx status;
  if (const int failed = look_at(fd.get(), status)) return fails(failed);
  Fd path;  // the only way back to it
  if (const int failed = with_room(nodes_, [&] {
        path.reset(::open(ProcPath(fd.get()).c_str(), O_PATH | O_CLOEXEC));
        return path ? 0 : errno;
      }))
    return fails(failed);
  Node& node = nodes_.meet(id_of(status), dir->node->fs, dir->node, "", std::move(path));
  nodes_.give(node);
  nodes_.unnamed(node, *dir->node, "");
  auto attr = attr_to_tell(node, status, listen(node) != Watch::Heard::no);  // nobody else knows it
  attr.acl = may_have_acl(fd.get());
  add_open(m.handle, node, std::move(fd), m.flags, std::move(rights), m.caller.job);
  handles_.find(m.handle)->journalled = effects_.opened(m.caller.job, status, true);
  wire::Made made{node.number, node.fs, attr, {}};
  made.room = room_at(handles_.find(m.handle)->fd.get());
  return made;
}

// Gives a reserved file its name, rights and times.
int FileService::link_reserved(int file, int dir, const wire::Create& m) {
  if (::fchmod(file, mode_in(dir, m.mode & 07777, m.umask)) != 0) return -1;
  if (::linkat(AT_FDCWD, ProcPath(file).c_str(), dir, m.name.c_str(), AT_SYMLINK_FOLLOW) != 0) return -1;
  return ::futimens(file, nullptr);
}

Answer<wire::Made> FileService::serve(const wire::Create& m) {
  if ((m.flags & O_TMPFILE) == O_TMPFILE) return create_nameless(m);
  const auto dir = hold_dir(m.parent, m.name);
  if (!dir) return fails(dir.error());
  if (m.handle == 0 || handles_.find(m.handle) || !may_name(m.as)) return fails(EINVAL);
  look_for_others(*dir->node, dir->fd());
  auto rights = callers_.rights(m.caller);
  Fd fd;
  const Change change{.kind = Change::Kind::create,
                      .job = m.caller.job,
                      .place = Change::Place{dir->node, m.name, file_at(dir->fd(), m.name), dir->fd()},
                      .flags = static_cast<unsigned>(m.flags)};
  Fd reserved = m.inode && !change.place->is ? reserved_.take(m.inode, rights) : Fd();
  const int error = apply(change, [&] {
    if (reserved) {
      const int made = act_as(rights, [&] { return link_reserved(reserved.get(), dir->fd(), m); });
      fd = std::move(reserved);
      if (made == 0) return 0;
      fd.reset();  // somebody was first, or it does not go: as ever
    }
    return with_room(nodes_, [&] {
      return act_as(rights, [&] {
        fd.reset(::openat(dir->fd(), m.name.c_str(),
                          (m.flags & callers_flags & ~O_DIRECTORY) | our_flags | O_CREAT | O_NOFOLLOW,
                          mode_in(dir->fd(), m.mode & 07777, m.umask)));
        return fd.get();
      });
    });
  });
  if (error) return fails(error);
  struct statx status;
  if (const int failed = look_at(fd.get(), status)) return fails(failed);
  if (!S_ISREG(status.stx_mode)) return fails(ENXIO);  // without O_EXCL, something else that was there
  changed_by_guest({dir->node, nodes_.find(id_of(status))});
  // The name may be taken away at home at any time; the descriptor still leads to this file.
  auto entry = give(*dir->node, m.name, status, Fd(::open(ProcPath(fd.get()).c_str(), O_PATH | O_CLOEXEC)), m.as);
  if (!entry) return fails(entry.error());
  Node& node = *nodes_.find(entry->node);
  auto answer = made(*entry, *dir->node, dir->fd());
  add_open(m.handle, node, std::move(fd), m.flags, std::move(rights), m.caller.job);
  handles_.find(m.handle)->journalled = effects_.opened(m.caller.job, status, false);
  listen(node);
  watch_.keep(node.number, true);
  written_.insert(node.number);
  const auto& file = *handles_.find(m.handle);
  answer.room = change.place->is ? 0 : room_at(file.fd.get());
  const auto makes = lease_of(*dir->node, dir->fd(), m.caller.job);
  answer.makes = static_cast<std::uint8_t>(makes);
  if (makes != wire::Makes::nothing && !(m.flags & O_EXCL && m.inode == 0)) reserve_more(answer, dir->fd(), m.caller, m.inode != 0);
  return answer;
}

void FileService::offer(std::uint64_t token, const std::shared_ptr<Description>& description) {
  std::erase_if(offered_, [](const auto& each) { return each.second.expired(); });
  offered_[token] = description;
}

// Once, and only by a handle of the same file.
Answer<wire::None> FileService::serve(const wire::Adopt& m) {
  const auto file = find_open(m.handle);
  const auto offer = offered_.find(m.token);
  if (!file || !file->fd) return fails(EBADF);
  if (offer == offered_.end()) return fails(EPERM);
  const auto description = offer->second.lock();
  struct statx ours, theirs;
  if (!description) return fails(EPERM);
  if (stat_of(file->fd.get(), ours) != 0 || stat_of(description->fd(), theirs) != 0 ||
      id_of(ours) != id_of(theirs))
    return fails(ESTALE);
  offered_.erase(offer);
  file->description = description;
  return wire::None{};
}

void FileService::serve(const wire::Release& m) {
  locks_->released(m.handle);
  const auto file = handles_.remove(m.handle);
  Node* node = file ? nodes_.find(file->node) : nullptr;
  if (!node) return;
  if (file->runs || file->writable)
    effects_.text_uses().end(node->id, this, file->runs ? TextUses::runs : TextUses::writes);
  if (node->opens == 1) {
    closed(*node);
    contents_.erase(node->number);
  }
  nodes_.closed(*node);
  if (rests_) nodes_.close_idle();  // the guest's kernel lets go of some files only behind a job's end
}

Answer<wire::DirPage> FileService::serve(const wire::Readdir& m) {
  const auto file = find_open(m.handle);
  Node* dir = file ? nodes_.find(file->node) : nullptr;
  if (!dir) return fails(EBADF);
  if (file->error) return fails(file->error);
  wire::DirPage page;
  page.end = file->fd ? 0 : 1;
  if (!file->fd) return page;
  listen(*dir);
  bool all = true;
  return read_page(*dir, *file, m.offset, m.plus != 0, all);
}

// `all`: becomes false when something is there that is not in the page.
Answer<wire::DirPage> FileService::read_page(Node& dir, OpenFile& file, std::int64_t offset, bool plus, bool& all) {
  wire::DirPage page;
  std::size_t bytes = 0;
  const auto full = [&] { return page.entries.size() >= wire::max_page || bytes >= max_page_bytes; };
  const auto take = [&](RawEntry&& raw) {
    if (policy_.hides(dir, raw.name)) return all = false, true;
    wire::DirEntry entry{std::move(raw.name), raw.ino, raw.type, raw.next, {}};
    const bool dots = entry.name == "." || entry.name == "..";
    struct statx status;
    // A type that is not said must be looked up; so must what may be hidden under another name, for its
    // identity.
    if (!dots && (plus || raw.type == 0)) {
      const int error = act_as(file.rights, [&] {
        return ::statx(file.fd.get(), entry.name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
                       STATX_BASIC_STATS | STATX_BTIME, &status);
      });
      if (!error && policy_.hides(id_of(status))) return all = false, true;
      if (!error) entry.type = status.stx_mode & static_cast<unsigned>(S_IFMT);
      without_ours(error, status);
      if (!error && plus)
        if (const auto given = give_ahead(dir, entry.name, status)) entry.entry = *given;
    }
    bytes += entry.name.size() + (plus ? 160 : 40);
    page.entries.push_back(std::move(entry));
    return !full();
  };
  const int error = read_directory(file, offset, take);
  if (error && page.entries.empty()) return fails(error);
  page.end = !error && !full();
  return page;
}

// From now on each name that comes or goes there is told of.
Answer<wire::DirPage> FileService::serve(const wire::List& m) {
  const auto dir = hold(m.node);
  if (!dir) return fails(dir.error());
  if (!S_ISDIR(dir->node->id.type) || dir->node->barred) return fails(ENOTDIR);
  OpenFile file;
  file.rights = callers_.rights(m.caller);
  const int error = with_room(nodes_, [&] {
    return act_as(file.rights, [&] {
      file.fd.reset(::open(ProcPath(dir->fd()).c_str(), O_RDONLY | O_DIRECTORY | our_flags));
      return file.fd.get();
    });
  });
  if (error) return fails(error);
  bool all = listen(*dir->node) != Watch::Heard::no;
  if (all && m.offset == 0) listed_.insert(m.node);
  auto page = read_page(*dir->node, file, m.offset, true, all);
  if (!all) listed_.erase(m.node);  // nor is it whole with the pages that follow
  if (page) page->end = page->end && listed_.contains(m.node);
  return page;
}

}  // namespace ssi
