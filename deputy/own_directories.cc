// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/own_directories.h"

#include <utility>

namespace ssi {
namespace {
constexpr std::size_t most_own = 20'000;
}

bool OwnDirectories::add(const FileId& directory, const void* guest, std::uint64_t job,
                         std::function<void(std::function<void()> done)> revoke) {
  const auto found = directories_.find(directory);
  if (found != directories_.end()) {
    const bool its = found->second.owner.guest == guest && found->second.waiting.empty();
    if (its) found->second.owner.jobs.insert(job);
    return its;
  }
  if (directories_.size() >= most_own) return false;
  directories_.emplace(directory, Entry{{guest, {job}, std::move(revoke)}, ++numbers_, {}});
  return true;
}

bool OwnDirectories::is_anothers(const FileId& directory, const void* guest) const {
  if (directories_.empty()) return false;
  const auto found = directories_.find(directory);
  return found != directories_.end() && found->second.owner.guest != guest;
}

void OwnDirectories::take_back(const FileId& directory, std::function<void()> then) {
  const auto found = directories_.find(directory);
  if (found == directories_.end()) return then();
  found->second.waiting.push_back(std::move(then));
  if (found->second.waiting.size() > 1) return;
  const auto revoke = found->second.owner.revoke;  // it may be done at once
  revoke([this, directory, number = found->second.number] {
    const auto now = directories_.find(directory);
    if (now != directories_.end() && now->second.number == number) give_up(directory);
  });
}

void OwnDirectories::give_up(const FileId& directory) {
  const auto ended = directories_.extract(directory);
  if (!ended) return;
  for (const auto& then : ended.mapped().waiting) then();
}

template <class Is>
void OwnDirectories::give_up_if(const Is& is) {
  std::vector<FileId> ended;
  for (const auto& [directory, entry] : directories_)
    if (is(entry.owner)) ended.push_back(directory);
  for (const auto& directory : ended) give_up(directory);
}

void OwnDirectories::end(const void* guest, std::uint64_t job) {
  for (auto& [directory, entry] : directories_)
    if (entry.owner.guest == guest) entry.owner.jobs.erase(job);
  give_up_if([&](const Owner& owner) { return owner.jobs.empty(); });
}

void OwnDirectories::forget(const void* guest, const FileId& directory) {
  const auto found = directories_.find(directory);
  if (found != directories_.end() && found->second.owner.guest == guest) give_up(directory);
}

void OwnDirectories::forget(const void* guest) {
  give_up_if([&](const Owner& owner) { return owner.guest == guest; });
}

}  // namespace ssi
