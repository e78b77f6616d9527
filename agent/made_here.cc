// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/made_here.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace ssi {
namespace {
constexpr std::size_t most_files = 50'000, most_leases = 10'000, most_inodes = 1024;
}

// A directory that the job has made is its own whatever home says of it later, until that is revoked.
void MadeHere::lease(std::uint64_t directory, wire::Makes makes, std::uint64_t job) {
  if (makes == wire::Makes::nothing) return;
  if (directories_.size() >= most_leases && !directories_.contains(directory)) return;
  auto& lease = directories_.try_emplace(directory, Lease{makes, job}).first->second;
  if (makes < lease.makes) return;
  lease.makes = makes;
  lease.job = job;
}

wire::Attr* MadeHere::directory(std::uint64_t directory) {
  const auto found = directories_.find(directory);
  return found == directories_.end() || found->second.attr.ino == 0 ? nullptr : &found->second.attr;
}

void MadeHere::set_unknown(std::uint64_t node) {
  auto* file = find(node);
  if (!file) return;
  file->is_known = false;
  drop_content(*file);
}

void MadeHere::forget(std::uint64_t node) {
  drop_content(node);
  files_.erase(node);
}

void MadeHere::drop_content(std::uint64_t node) {
  if (auto* file = find(node)) drop_content(*file);
}

void MadeHere::drop_content(File& file) {
  if (file.content) content_bytes_ -= file.content->size();
  file.content.reset();
}

void MadeHere::begin_content(File& file, std::uint64_t now) {
  file.content.emplace();
  file.wrote_at = now;
}

// Between its end and the offset is a hole, since nobody else writes there.
void MadeHere::wrote(File& file, std::uint64_t offset, std::string_view bytes, std::uint64_t now) {
  if (!file.content) return;
  file.wrote_at = now;
  const auto before = file.content->size();
  const auto end = std::max<std::uint64_t>(before, offset + bytes.size());
  if (end > most_of_one || content_bytes_ + end - before > most_content) return drop_content(file);
  content_bytes_ += end - before;
  file.content->resize(end);
  file.content->replace(offset, bytes.size(), bytes);
}

const std::string* MadeHere::content(std::uint64_t node, std::uint64_t now) {
  auto* file = find(node);
  if (!file || !file->content) return nullptr;
  if (now - file->wrote_at > content_ms) drop_content(*file);
  return file->content ? &*file->content : nullptr;
}

// Only what no change is on its way of.
void MadeHere::told(std::uint64_t node, const wire::Attr& attr) {
  if (auto* file = find(node)) {
    file->attr = attr;
    file->is_known = true;
  }
  const auto found = directories_.find(node);
  if (found == directories_.end()) return;
  found->second.attr = attr;
  if (passes_on(attr)) directories_.erase(found);
}

bool MadeHere::passes_on(const wire::Attr& attr) {
  return attr.acl || attr.mode & S_ISGID;
}

wire::Makes MadeHere::makes(std::uint64_t directory) const {
  const auto found = directories_.find(directory);
  return found == directories_.end() ? wire::Makes::nothing : found->second.makes;
}

void MadeHere::add_inodes(const wire::Caller& of, const std::vector<std::uint64_t>& inodes) {
  for (const auto number : inodes)
    if (inodes_.size() < most_inodes) inodes_.push_back({of.uid, of.gid, of.job, number});
}

std::uint64_t MadeHere::take_inode(const wire::Caller& of) {
  const auto found = std::ranges::find_if(
      inodes_, [&](const Inode& one) { return one.uid == of.uid && one.gid == of.gid && one.job == of.job; });
  if (found == inodes_.end()) return 0;
  const auto number = found->number;
  inodes_.erase(found);
  return number;
}

MadeHere::File* MadeHere::add(std::uint64_t node, File file) {
  if (files_.size() >= most_files) return nullptr;
  forget(node);
  return &(files_[node] = std::move(file));
}

MadeHere::File* MadeHere::find(std::uint64_t node) {
  const auto found = files_.find(node);
  return found == files_.end() ? nullptr : &found->second;
}

namespace {
// What could not be attributed may be its.
auto of_job(std::uint64_t job) {
  return [job](const auto& each) { return job == 0 || each.second.job == 0 || each.second.job == job; };
}
}  // namespace

void MadeHere::end_leases(std::uint64_t job) {
  std::erase_if(directories_, of_job(job));
  std::erase_if(inodes_, [job](const Inode& one) { return job == 0 || one.job == job; });
}

std::vector<std::pair<std::uint64_t, MadeHere::File>> MadeHere::end_files(std::uint64_t job) {
  std::vector<std::pair<std::uint64_t, File>> refused;
  for (auto& each : files_) {
    if (!of_job(job)(each)) continue;
    drop_content(each.second);
    if (each.second.error != 0) refused.push_back(each);
  }
  std::erase_if(files_, of_job(job));
  return refused;
}

}  // namespace ssi
