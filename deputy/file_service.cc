// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/file_service.h"

#include <algorithm>

#include "common/log.h"

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

Answer<wire::Entry> FileService::give(Node& dir, const std::string& name, const struct statx& status, Fd fd) {
  const auto id = id_of(status);
  // It may have got this name, or be mounted here, since the policy last looked what lies where.
  const bool elsewhere =
      status.stx_attributes & STATX_ATTR_MOUNT_ROOT || (status.stx_nlink > 1 && !S_ISDIR(status.stx_mode));
  if (elsewhere) policy_.refresh_if_old();
  if (const auto kept = policy_.kept(id); kept >= Kept::absent) return fails(not_shown(dir, name, kept));
  const auto fs = fs_of(id.dev, dir);
  Node& node = nodes_.meet(id, fs, &dir, name, std::move(fd));
  nodes_.give(node);
  const auto attr = attr_of(status);
  node.barred = S_ISDIR(id.type) && mounts_.barred(id.dev);
  // The guest mounts its own /proc, /sys and /dev over these, and a mount point must never be invalidated.
  if (!node.barred) {
    handed_out_.attr(node.number, attr);
    handed_out_.name(dir.number, name, node.number);
  }
  return wire::Entry{node.number, node.fs, attr};
}

Answer<wire::Entry> FileService::give_new(Node& dir, int dir_fd, const std::string& name) {
  struct statx status;
  if (const int error = stat_at(dir_fd, name.c_str(), status)) return fails(error);
  return give(dir, name, status);
}

Answer<wire::Attr> FileService::tell_attr(const Node& node, int fd) {
  struct statx status;
  if (const int error = stat_of(fd, status)) return fails(error);
  const auto attr = attr_of(status);
  if (!node.barred) handed_out_.attr(node.number, attr);
  return attr;
}

std::function<void()> FileService::later(std::function<void(FileService&)> f) {
  return [weak = weak_from_this(), f = std::move(f)] {
    if (const auto self = weak.lock()) f(*self);
  };
}

wire::Mounts FileService::mounts() {
  wire::Mounts mounts;
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
    mounts.mounts.push_back({root.fs, root.path, node.number, root.read_only});
  }
  for (const auto number : former)
    if (Node* node = nodes_.find(number);
        node && std::find(roots_.begin(), roots_.end(), number) == roots_.end())
      nodes_.set_root(*node, false);
  return mounts;
}

// Looks up every name that the guest may believe in. What is seen on the way spares its node another look.
void FileService::note_stale_names(wire::Invalidate& stale,
                                   std::unordered_map<std::uint64_t, wire::Attr>& seen, std::uint64_t only) {
  auto& names = handed_out_.names();
  for (auto at = names.begin(); at != names.end();) {
    const auto& [parent, name] = at->first;
    if (only != 0 && parent != only) {
      ++at;
      continue;
    }
    std::uint64_t leads_to = 0;
    bool known = false;
    struct statx status;
    if (const auto dir = hold(parent)) {
      const int error = stat_at(dir->fd(), name.c_str(), status);
      known = error == 0 || error == ENOENT;
      if (error == 0) {
        const Node* node = nodes_.find(id_of(status));
        leads_to = node ? node->number : ~0ULL;  // a file that the guest has never met
        if (node) seen.emplace(node->number, attr_of(status));
        if (policy_.hides(id_of(status)) || policy_.hides(*dir->node, name)) leads_to = ~0ULL;
      }
    }
    if (known && leads_to == at->second.node) {
      ++at;
      continue;
    }
    stale.names.push_back({parent, name});
    at = names.erase(at);
  }
}

wire::Invalidate FileService::stale() {
  wire::Invalidate stale;
  std::unordered_map<std::uint64_t, wire::Attr> seen;
  handed_out_.prune();
  note_stale_names(stale, seen);
  auto& nodes = handed_out_.nodes();
  for (auto at = nodes.begin(); at != nodes.end();) {
    const auto& [number, told] = *at;
    auto found = seen.find(number);
    if (found == seen.end()) {
      struct statx status;
      const auto held = hold(number);
      if (held && stat_of(held->fd(), status) == 0) found = seen.emplace(number, attr_of(status)).first;
    }
    if (found != seen.end() && !told.racy && same_attr(told.attr, found->second)) {
      ++at;
      continue;
    }
    // A node that the guest has forgotten needs no word; one that is gone from home does.
    if (nodes_.find(number)) stale.nodes.push_back(number);
    at = nodes.erase(at);
  }
  return stale;
}

wire::Invalidate FileService::stale_in(std::uint64_t parent) {
  constexpr std::size_t enough = 500;  // of one message; the others are believed for cache_ms at most
  wire::Invalidate stale;
  std::unordered_map<std::uint64_t, wire::Attr> seen;
  handed_out_.prune();
  note_stale_names(stale, seen, parent);
  for (const auto& [number, attr] : seen) {
    const auto told = handed_out_.nodes().find(number);
    if (told == handed_out_.nodes().end() || (!told->second.racy && same_attr(told->second.attr, attr)))
      continue;
    stale.nodes.push_back(number);
    handed_out_.nodes().erase(told);
  }
  if (stale.nodes.size() > enough) stale.nodes.resize(enough);
  if (stale.names.size() > enough) stale.names.resize(enough);
  return stale;
}

}  // namespace ssi
