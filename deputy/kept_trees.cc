// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/kept_trees.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "common/fd.h"
#include "common/file_time.h"
#include "deputy/undo_keep.h"

namespace ssi {
namespace {

// A directory that changed so shortly before it was read can change again without its time showing it.
constexpr std::int64_t racy_ns = 50'000'000;

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

}  // namespace

bool KeptTrees::read(const std::string& path, std::uint64_t dev, Directory& into) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const std::unique_ptr<DIR, CloseDir> dir(fd ? ::fdopendir(fd.release()) : nullptr);
  if (!dir) return false;
  while (const auto* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    struct statx status;
    if (name == "." || name == ".." || stat_at(::dirfd(dir.get()), name.c_str(), status) != 0) continue;
    const auto id = id_of(status);
    into.files.push_back(id);
    // What is kept there for a job that may be undone is the user's: jobs have it open, or get it back.
    if (S_ISDIR(id.type) && id.dev == dev && !name.starts_with(UndoKeep::prefix)) into.below.push_back(name);
    if (into.files.size() > most) break;
  }
  return true;
}

const KeptTrees::Directory* KeptTrees::directory(const std::string& path) {
  struct statx status;
  if (stat_at(AT_FDCWD, path.c_str(), status) != 0 || !S_ISDIR(status.stx_mode)) return nullptr;
  const auto id = id_of(status);
  const auto mtime = attr_of(status).mtime;
  const auto [place, isnew] = seen_.try_emplace(id);
  if (!isnew) return &place->second;  // below two rules
  auto& seen = place->second;
  if (const auto known = known_.find(id);
      known != known_.end() && known->second.mtime == mtime && known->second.looked - mtime > racy_ns) {
    seen = std::move(known->second);
    return &seen;
  }
  seen.mtime = mtime;
  seen.looked = wall_clock();
  return read(path, id.dev, seen) ? &seen : nullptr;
}

bool KeptTrees::look(std::vector<Tree> trees, Ids& ids) {
  seen_.clear();
  std::size_t count = 0;
  bool all = true;
  // What is nearest to the rules' own paths first.
  for (std::size_t at = 0; at < trees.size(); ++at) {
    const auto tree = std::move(trees[at]);
    if (count > most) {
      all = false;
      break;
    }
    const auto* found = directory(tree.path);
    if (!found) continue;
    count += found->files.size() + 1;
    for (const auto& id : found->files) {
      auto& kept = ids[id];
      kept = std::max(kept, tree.kept);
    }
    for (const auto& name : found->below) trees.push_back({tree.path + "/" + name, tree.kept});
  }
  known_ = std::exchange(seen_, {});
  return all;
}

}  // namespace ssi
