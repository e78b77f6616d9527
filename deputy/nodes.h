// SPDX-License-Identifier: LGPL-2.1-or-later
// The files of home that a guest has numbers for. A node is a file, not a name: hard links are one node. Its
// O_PATH descriptor may be closed at any time to keep the process below its limit; it is reopened by parent
// and name, and verified. Loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/fd.h"
#include "deputy/file_id.h"

namespace ssi {

struct Node {
  std::uint64_t number = 0;
  FileId id;
  std::uint32_t fs = 0;
  Node* parent = nullptr;  // where it was last seen; null: `name` is an absolute path
  std::string name;
  std::uint64_t given = 0;  // times that the guest was given the number, and has not forgotten it
  std::uint32_t children = 0, opens = 0;
  bool root = false;      // of an exported file system: kept whether given or not
  bool nameless = false;  // its name was removed: only the descriptor leads there
  bool ahead = false;     // its place was told ahead: the guest's kernel may know another file there
  bool barred = false;    // root of a file system that is not exported; looks like an empty directory
  std::chrono::steady_clock::time_point looked_up{};  // when the guest last asked for it by its name
  std::chrono::steady_clock::time_point said_gone{};  // when it was last told that this directory is gone

 private:
  friend class Nodes;
  Descriptor path;
  std::list<Node*>::iterator place;  // in Nodes::recent_
  bool listed = false;
};

// Absolute path of a node, or of a name in it, as far as is known. For the policy and for messages, never to
// open.
std::string path_of(const Node& node);
std::string path_of(const Node& dir, std::string_view name);

class Nodes {
 public:
  static constexpr std::uint64_t first = 16;  // number of the first node

  // Keeps about `descriptors` files open, and besides those that could not be reopened. `dropped` hears of the numbers that
  // lead nowhere any more.
  explicit Nodes(std::size_t descriptors, std::function<void(std::uint64_t)> dropped = {})
      : limit_(descriptors), dropped_(std::move(dropped)) {}
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;

  Node* find(std::uint64_t number);
  Node* find(const FileId& id);

  // The node of the file that was just seen at `name` in `parent` (null: the root of a file system at that
  // path). `fd`, when there is one, is its O_PATH descriptor. A file that was not known gets the number `as`, which is free, or
  // the next one. Give or open the node, or it stays for ever.
  Node& meet(const FileId& id, std::uint32_t fs, Node* parent, std::string_view name, Fd fd = {}, std::uint64_t as = 0);

  void give(Node& node) { ++node.given; }
  void forget(std::uint64_t number, std::uint64_t count);
  void set_root(Node& node, bool root);
  void opened(Node& node);
  void closed(Node& node);

  // The file now is (also) called so, or has lost the name under which we knew it.
  void renamed(Node& node, Node& parent, std::string_view name);
  void unnamed(Node& node, const Node& parent, std::string_view name);

  // The O_PATH descriptor, opened again where necessary. ESTALE: the name leads to another file now.
  Answer<Descriptor> descriptor(Node& node);

  // Whether that costs nothing.
  static bool is_open(const Node& node) { return node.path != nullptr; }

  // Closes what can be reopened.
  void close_idle();

  std::size_t size() const { return numbers_.size(); }
  std::size_t descriptors() const { return held_; }

 private:
  Answer<Fd> reopen(Node& node);
  void hold(Node& node, Fd fd);
  void relist(Node& node);
  void release(Node& node);
  void shrink(std::size_t to);
  void set_place(Node& node, Node* parent, std::string_view name);
  void drop_unused(Node* node);

  std::size_t limit_, held_ = 0;
  std::function<void(std::uint64_t)> dropped_;
  std::uint64_t next_ = first;
  std::unordered_map<std::uint64_t, std::unique_ptr<Node>> numbers_;
  std::unordered_map<FileId, Node*, FileIdHash> ids_;
  std::list<Node*> recent_;  // those whose descriptor may be closed, the latest used first
};

// Raises this process's limit of open files to the hard one, and says how many of them nodes may take.
std::size_t descriptors_for_nodes();

}  // namespace ssi
