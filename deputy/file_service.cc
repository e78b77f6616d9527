// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_service.h"

#include <unistd.h>

#include <algorithm>
#include <climits>

#include "common/log.h"
#include "deputy/acl.h"

namespace ssi {
namespace {

// One component. The guest's kernel walks paths itself, so nothing else is ever right, and ".." would lead
// out.
bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

}  // namespace

Answer<FileService::Held> FileService::hold(std::uint64_t number) {
  Node* node = nodes_.find(number);
  if (!node) return fails(ESTALE);
  // It was not hidden when the guest met it.
  if (const auto kept = policy_.kept(node->id); kept >= Kept::absent)
    return fails(kept == Kept::hidden ? wire::hidden : ESTALE);
  auto path = nodes_.descriptor(*node);
  if (!path) return fails(path.error());
  return Held{node, std::move(*path)};
}

Answer<FileService::Held> FileService::hold_dir(std::uint64_t number, std::string_view name) {
  if (!is_name(name)) return fails(EINVAL);
  auto held = hold(number);
  if (held && !S_ISDIR(held->node->id.type)) return fails(ENOTDIR);
  if (held) held->heard = listen(*held->node) != Watch::Heard::no;
  return held;
}

// A device that the table does not name even when read again: a btrfs subvolume, or an overlay's layer. To
// the guest it belongs to the file system above; inode numbers may then meet twice, which home's kernel
// allows as well.
std::uint32_t FileService::fs_of(std::uint64_t dev, const Node& dir) {
  if (dev == dir.id.dev) return dir.fs;
  auto fs = mounts_.number(dev);
  if (fs == 0 && mounts_.changed()) {
    announced_ = false;
    if (const auto roots = mounts_.read(policy_); !roots) log::warning("{}", roots.error().text());
    fs = mounts_.number(dev);
  }
  return fs == 0 ? dir.fs : fs;
}

int FileService::not_shown(const Node& dir, const std::string& name, Kept kept) {
  policy_.log_refused(path_of(dir, name), "sight of");
  return kept == Kept::hidden ? wire::hidden : ENOENT;
}

// Of a file that has been opened, or has that name.
bool FileService::has_acl(const FileId& id, Node& dir, const std::string& name, int fd) {
  if (S_ISLNK(id.type)) return false;
  if (fd >= 0) return may_have_acl(fd);
  const auto in = nodes_.descriptor(dir);
  return !in || may_have_acl((*in)->get(), name);
}

// Who looks up a link reads it next. Empty: not a link, or none that can be read now.
std::string FileService::target_of(const Node& node, Node& dir, const std::string& name) {
  if (!S_ISLNK(node.id.type)) return {};
  char target[PATH_MAX];
  const bool open = Nodes::is_open(node);
  const auto in = open ? nodes_.descriptor(*nodes_.find(node.number)) : nodes_.descriptor(dir);
  const auto size = in ? ::readlinkat((*in)->get(), open ? "" : name.c_str(), target, sizeof target) : -1;
  if (size <= 0 || static_cast<std::size_t>(size) == sizeof target) return {};
  // By its name it may be another one by now.
  struct statx status;
  if (!open && (look_at((*in)->get(), name, status) != 0 || id_of(status) != node.id)) return {};
  return {target, static_cast<std::size_t>(size)};
}

Answer<wire::Entry> FileService::give(Node& dir, const std::string& name, struct statx status, Fd fd, std::uint64_t as) {
  const auto id = id_of(status);
  if (as != 0 && nodes_.find(id)) return fails(ESTALE);  // it has a number
  // It may have got this name, or be mounted here, since the policy last looked what lies where.
  const bool elsewhere =
      status.stx_attributes & STATX_ATTR_MOUNT_ROOT || (status.stx_nlink > 1 && !S_ISDIR(status.stx_mode));
  if (elsewhere) policy_.refresh_if_old();
  if (const auto kept = policy_.kept(id); kept >= Kept::absent) return fails(not_shown(dir, name, kept));
  const bool acl = has_acl(id, dir, name, fd.get());
  const auto fs = fs_of(id.dev, dir);
  Node& node = nodes_.meet(id, fs, &dir, name, std::move(fd), as);
  nodes_.give(node);
  node.ahead = false;
  node.barred = S_ISDIR(id.type) && mounts_.barred(id.dev);
  // The guest mounts its own /proc, /sys and /dev over these, and a mount point must never be invalidated.
  if (node.barred) return wire::Entry{node.number, node.fs, attr_of(status), {}};
  const bool heard = listen(dir) == Watch::Heard::before;
  auto attr = attr_to_tell(node, status, heard);
  if (!heard) attr.brief = 1;
  attr.acl = acl;
  if (!attr.brief) handed_out_.name(dir.number, name, node.number);
  return wire::Entry{node.number, node.fs, attr, target_of(node, dir, name)};
}

// What it believed before stays written down, so that it is told.
Answer<wire::Entry> FileService::give_ahead(Node& dir, const std::string& name, struct statx status) {
  auto& names = handed_out_.names();
  const auto told = names.find({dir.number, name});
  const bool was_told = told != names.end();
  const auto before = was_told ? told->second : 0;
  const Node* known = nodes_.find(id_of(status));
  const bool was_there = known && known->parent == &dir && known->name == name && !known->ahead;
  auto entry = give(dir, name, status);
  if (entry) nodes_.find(entry->node)->ahead = !was_there;
  if (was_told && (!entry || entry->node != before)) {
    names[{dir.number, name}] = before;
    doubtful_.push_back({dir.number, name});
  }
  return entry;
}

Answer<wire::Entry> FileService::give_new(Node& dir, int dir_fd, const std::string& name, std::uint64_t as) {
  struct statx status;
  if (const int error = look_at(dir_fd, name, status)) return fails(error);
  return give(dir, name, status, {}, as);
}

std::function<void()> FileService::later(std::function<void(FileService&)> f) {
  return [weak = weak_from_this(), f = std::move(f)] {
    if (const auto self = weak.lock()) f(*self);
  };
}

wire::Mounts FileService::mounts() {
  wire::Mounts mounts;
  mounted_ |= mounts_.changed();
  auto roots = mounts_.read(policy_);
  if (!roots) {
    log::error("{}", roots.error().text());
    return mounts;
  }
  announced_ = true;
  const auto former = std::move(roots_);
  roots_.clear();
  for (auto& root : *roots) {
    Node& node = nodes_.meet(root.id, root.fs, nullptr, root.path, std::move(root.fd));
    node.fs = root.fs;
    node.barred = false;
    nodes_.set_root(node, true);
    roots_.push_back(node.number);
    mounts.mounts.push_back({root.fs, root.path, node.number, root.read_only, root.identity});
  }
  for (const auto number : former)
    if (Node* node = nodes_.find(number);
        node && std::find(roots_.begin(), roots_.end(), number) == roots_.end())
      nodes_.set_root(*node, false);
  return mounts;
}

}  // namespace ssi
