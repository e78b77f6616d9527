// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/nodes.h"

#include <sys/resource.h>

#include <algorithm>
#include <vector>

namespace ssi {
namespace {

bool is_below(const Node* node, const Node* above) {
  for (; node; node = node->parent)
    if (node == above) return true;
  return false;
}

}  // namespace

std::string path_of(const Node& node) {
  std::vector<const Node*> chain;
  for (const Node* at = &node; at; at = at->parent) chain.push_back(at);
  std::string path;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    if (!path.empty() && path.back() != '/') path += '/';
    path += (*at)->name;
  }
  return path;
}

std::string path_of(const Node& dir, std::string_view name) {
  auto path = path_of(dir);
  if (path.empty() || path.back() != '/') path += '/';
  return path.append(name);
}

Node* Nodes::find(std::uint64_t number) {
  const auto found = numbers_.find(number);
  return found == numbers_.end() ? nullptr : found->second.get();
}

Node* Nodes::find(const FileId& id) {
  const auto found = ids_.find(id);
  return found == ids_.end() ? nullptr : found->second;
}

Node& Nodes::meet(const FileId& id, std::uint32_t fs, Node* parent, std::string_view name, Fd fd,
                  std::uint64_t as) {
  Node* node = find(id);
  if (!node) {
    auto made = std::make_unique<Node>();
    node = made.get();
    node->number = as ? as : next_++;
    node->id = id;
    node->fs = fs;
    ids_.emplace(id, node);
    numbers_.emplace(node->number, std::move(made));
  }
  // A root is also met by its name in the file system above; its path is the better way there.
  if (!node->root || !parent) set_place(*node, parent, name);
  if (fd && !node->path) hold(*node, std::move(fd));
  return *node;
}

void Nodes::forget(std::uint64_t number, std::uint64_t count) {
  Node* node = find(number);
  if (!node) return;
  node->given -= std::min(count, node->given);
  drop_unused(node);
}

void Nodes::set_root(Node& node, bool root) {
  node.root = root;
  drop_unused(&node);
}

void Nodes::opened(Node& node) {
  ++node.opens;
  relist(node);
}

void Nodes::closed(Node& node) {
  --node.opens;
  relist(node);
  drop_unused(&node);
}

void Nodes::renamed(Node& node, Node& parent, std::string_view name) {
  node.ahead = false;
  if (!node.root) set_place(node, &parent, name);
}

void Nodes::unnamed(Node& node, const Node& parent, std::string_view name) {
  if (node.parent != &parent || node.name != name) return;
  node.nameless = true;
  relist(node);
}

Answer<Descriptor> Nodes::descriptor(Node& node) {
  if (!node.path) {
    auto fd = reopen(node);
    if (!fd) return fails(fd.error());
    hold(node, std::move(*fd));
  } else if (node.listed) {
    recent_.splice(recent_.begin(), recent_, node.place);
  }
  return node.path;
}

Answer<Fd> Nodes::reopen(Node& node) {
  Descriptor parent;
  if (node.parent) {
    auto found = descriptor(*node.parent);
    if (!found) return fails(found.error());
    parent = std::move(*found);
  }
  constexpr int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  const int dir = parent ? parent->get() : AT_FDCWD;
  Fd fd(::openat(dir, node.name.c_str(), flags));
  if (!fd && (errno == EMFILE || errno == ENFILE)) {
    close_idle();
    fd.reset(::openat(dir, node.name.c_str(), flags));
  }
  if (!fd) return fails(errno == ENOENT || errno == ENOTDIR ? ESTALE : errno);
  struct statx status;
  if (const int error = stat_of(fd.get(), status)) return fails(error);
  if (id_of(status) != node.id) return fails(ESTALE);
  return fd;
}

void Nodes::hold(Node& node, Fd fd) {
  node.path = std::make_shared<const Fd>(std::move(fd));
  ++held_;
  relist(node);
  shrink(limit_);
}

// Puts the node on the list of those that may be closed, or takes it off: an open file may lose its name at
// home without our knowing, and then only the descriptor is left.
void Nodes::relist(Node& node) {
  const bool closable = node.path && node.opens == 0 && !node.nameless;
  if (closable == node.listed) return;
  node.listed = closable;
  if (closable)
    node.place = recent_.insert(recent_.begin(), &node);
  else
    recent_.erase(node.place);
}

void Nodes::release(Node& node) {
  if (!node.path) return;
  if (node.listed) recent_.erase(node.place);
  node.listed = false;
  node.path.reset();
  --held_;
}

void Nodes::shrink(std::size_t to) {
  // The newest stays: it was opened to be used.
  while (recent_.size() > std::max<std::size_t>(to, 1)) release(*recent_.back());
}

void Nodes::close_idle() {
  while (!recent_.empty()) release(*recent_.back());
}

void Nodes::set_place(Node& node, Node* parent, std::string_view name) {
  if (node.nameless) {
    node.nameless = false;
    relist(node);
  }
  if (node.parent == parent && node.name == name) return;
  // Directories that were moved at home, unseen by us, can seem to lie in each other for a while. Then the
  // old place stays: it fails to verify, where a cycle would never end.
  if (parent && is_below(parent, &node)) return;
  Node* former = node.parent;
  node.parent = parent;
  node.name = name;
  if (parent) ++parent->children;
  if (former) {
    --former->children;
    drop_unused(former);
  }
}

// Frees the node, and then each one above that was only needed to reopen it.
void Nodes::drop_unused(Node* node) {
  while (node && node->given == 0 && node->children == 0 && node->opens == 0 && !node->root) {
    Node* parent = node->parent;
    if (parent) --parent->children;
    release(*node);
    ids_.erase(node->id);
    if (dropped_) dropped_(node->number);
    numbers_.erase(node->number);
    node = parent;
  }
}

std::size_t descriptors_for_nodes() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  // Each one also pins a dentry and an inode of the kernel, and some systems have a limit of 2^30.
  return std::min<std::size_t>(limit.rlim_max / 2, 32768);
}

}  // namespace ssi
