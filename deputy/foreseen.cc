// SPDX-License-Identifier: LGPL-2.1-or-later
// What a job is expected to ask for, since its command did so before (deputy/profile.h).
#include <fcntl.h>

#include <algorithm>
#include <climits>

#include "deputy/file_service.h"

namespace ssi {
namespace {

constexpr std::size_t most_in_a_message = 500;  // names, or ranges: well below the wire's limit for arrays

}  // namespace

// ---------------------------------------------------------------------------------------------------- written down

Profile FileService::recorded(std::uint64_t job) {
  auto found = recorded_.extract(job);
  return found ? std::move(found.mapped()) : Profile();
}

void FileService::note_lookup(std::uint64_t job, const Node& dir, const std::string& name) {
  if (const auto found = recorded_.find(job); found != recorded_.end()) found->second.looked_up(path_of(dir, name));
}

void FileService::note_read(const OpenFile& file, std::uint64_t offset, std::uint64_t size) {
  sent_.insert(file.node);
  const auto found = recorded_.find(file.job);
  const Node* node = found == recorded_.end() ? nullptr : nodes_.find(file.node);
  if (node && !node->nameless) found->second.read(path_of(*node), {offset, size});
}

void FileService::serve(const wire::Found& m) {
  for (const auto& name : m.names)
    if (const Node* dir = name.name.size() > NAME_MAX ? nullptr : nodes_.find(name.parent)) note_lookup(m.job, *dir, name.name);
}

// ------------------------------------------------------------------------------------------------------- foreseen

// The node at that name, or 0 when there is none, as the guest knows it by now. None: it cannot be told ahead.
std::optional<std::uint64_t> FileService::foresee_name(std::uint64_t parent, const std::string& name,
                                                       wire::Foreseen& message) {
  if (const auto told = handed_out_.names().find({parent, name}); told != handed_out_.names().end()) {
    const bool known = told->second == 0 || handed_out_.nodes().contains(told->second);
    if (known) return told->second;
  }
  const auto dir = hold_dir(parent, name);
  if (!dir || dir->node->barred || !dir->heard || policy_.kept(*dir->node, name) != Kept::no) return {};
  struct statx status;
  const int error = look_at(dir->fd(), name, status);
  if (error == ENOENT) {
    // The guest's kernel believes that something is there: that is taken back first.
    if (handed_out_.names().contains({parent, name})) return doubtful_.push_back({parent, name}), std::nullopt;
    handed_out_.name(parent, name, 0);
    message.names.push_back({parent, name, {}});
    return 0;
  }
  auto entry = error ? fails(error) : give_ahead(*dir->node, name, status);
  if (!entry) return {};
  if (entry->attr.brief) {  // it must be asked for each time
    nodes_.forget(entry->node, 1);
    return {};
  }
  const auto node = entry->node;
  message.names.push_back({parent, name, std::move(*entry)});
  return node;
}

std::optional<std::uint64_t> FileService::foresee_path(const std::string& path, NodesByPath& known, wire::Foreseen& message) {
  if (const auto found = known.find(path); found != known.end()) return found->second;
  const auto slash = path.rfind('/');
  if (slash == path.npos || slash + 1 == path.size()) return {};
  const auto parent = foresee_path(path.substr(0, slash), known, message);
  if (!parent || *parent == 0) return {};
  const auto node = foresee_name(*parent, path.substr(slash + 1), message);
  if (node) known[path] = *node;
  return node;
}

bool FileService::knows(const std::string& path) {
  struct statx status;
  const Node* node = stat_at(AT_FDCWD, path.c_str(), status) == 0 ? nodes_.find(id_of(status)) : nullptr;
  return node && sent_.contains(node->number);
}

void FileService::foresee(const Profile& profile) {
  NodesByPath known;
  for (const auto number : roots_)
    if (const Node* root = nodes_.find(number)) known[root->name == "/" ? "" : root->name] = number;
  wire::Foreseen message;
  const auto post = [&](std::size_t from) {
    if (std::max(message.names.size(), message.ranges.size()) < from) return;
    session_.post(message);
    message = {};
  };
  for (const auto& entry : profile.entries()) {
    const auto node = foresee_path(entry.path, known, message);
    if (node && *node != 0 && !entry.ranges.empty() && sent_.insert(*node).second)
      for (const auto& range : entry.ranges) message.ranges.push_back({*node, range.offset, range.size});
    post(most_in_a_message);
    // A path is never deeper than what is left of the limit; ranges can be many.
    while (message.ranges.size() > most_in_a_message) {
      wire::Foreseen part;
      part.names = std::exchange(message.names, {});
      part.ranges.assign(message.ranges.begin(), message.ranges.begin() + most_in_a_message);
      message.ranges.erase(message.ranges.begin(), message.ranges.begin() + most_in_a_message);
      session_.post(part);
    }
  }
  post(1);
}

}  // namespace ssi
