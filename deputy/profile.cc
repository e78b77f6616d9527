// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace ssi {
namespace {

constexpr std::size_t longest = 4096;  // bytes of a path

// Numbers in pairs, "offset+size", with a space behind each.
std::vector<Profile::Range> ranges_of(std::string_view text) {
  std::vector<Profile::Range> ranges;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    Profile::Range range;
    const auto offset = std::from_chars(at, end, range.offset);
    if (offset.ec != std::errc() || offset.ptr == end || *offset.ptr != '+') break;
    const auto size = std::from_chars(offset.ptr + 1, end, range.size);
    if (size.ec != std::errc() || size.ptr == end || *size.ptr != ' ') break;
    ranges.push_back(range);
    at = size.ptr + 1;
  }
  return ranges;
}

}  // namespace

Profile::Entry* Profile::at(const std::string& path) {
  const auto [found, is_new] = index_.try_emplace(path, entries_.size());
  if (!is_new) return &entries_[found->second];
  if (entries_.size() >= most_paths || path.empty() || path.size() > longest || path[0] != '/' || path.find('\0') != path.npos) {
    index_.erase(found);
    return nullptr;
  }
  entries_.push_back({path, {}});
  return &entries_.back();
}

void Profile::looked_up(const std::string& path) {
  at(path);
}

// Reads that adjoin, or overlap, are one.
void Profile::read(const std::string& path, Range range) {
  auto* entry = range.size == 0 ? nullptr : at(path);
  if (!entry) return;
  for (auto& known : entry->ranges) {
    if (range.offset > known.offset + known.size || known.offset > range.offset + range.size) continue;
    const auto end = std::max(known.offset + known.size, range.offset + range.size);
    const auto begin = std::min(known.offset, range.offset);
    const auto more = end - begin - known.size;
    if (bytes_ + more > most_bytes) return;
    bytes_ += more;
    known = {begin, end - begin};
    return;
  }
  if (ranges_ >= most_ranges || bytes_ + range.size > most_bytes) return;
  bytes_ += range.size;
  ++ranges_;
  entry->ranges.push_back(range);
}

void Profile::add(const Profile& other) {
  for (const auto& entry : other.entries_) {
    looked_up(entry.path);
    for (const auto& range : entry.ranges) read(entry.path, range);
  }
}

Profile Profile::without(const std::function<bool(const std::string& path)>& leave_out) const {
  Profile rest;
  for (const auto& entry : entries_) {
    if (leave_out(entry.path)) continue;
    rest.looked_up(entry.path);
    for (const auto& range : entry.ranges) rest.read(entry.path, range);
  }
  return rest;
}

std::string Profile::text() const {
  std::string text;
  for (const auto& entry : entries_) {
    text += entry.path + '\0';
    for (const auto& range : entry.ranges) text += fmt::format("{}+{} ", range.offset, range.size);
    text += '\0';
  }
  return text;
}

Profile Profile::of_text(std::string_view text) {
  Profile profile;
  while (!text.empty()) {
    const auto path = text.substr(0, text.find('\0'));
    text.remove_prefix(std::min(text.size(), path.size() + 1));
    const auto ranges = text.substr(0, text.find('\0'));
    text.remove_prefix(std::min(text.size(), ranges.size() + 1));
    profile.looked_up(std::string(path));
    for (const auto& range : ranges_of(ranges)) profile.read(std::string(path), range);
  }
  return profile;
}

bool Profiles::add(const std::string& key, const Profile& profile) {
  if (profile.empty()) return false;
  auto& known = known_[key];
  known.used = ++uses_;
  Profile sum = known.profile ? *known.profile : Profile();
  sum.add(profile);
  if (known.profile && sum.entries() == known.profile->entries()) return false;
  known.profile = std::make_shared<const Profile>(std::move(sum));
  if (known_.size() > most)
    known_.erase(std::min_element(known_.begin(), known_.end(),
                                  [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
  return true;
}

std::shared_ptr<const Profile> Profiles::of(const std::string& key) const {
  const auto found = known_.find(key);
  if (found == known_.end()) return nullptr;
  found->second.used = ++uses_;
  return found->second.profile;
}

NamedFiles::NamedFiles(const std::vector<std::string>& arguments, const std::string& cwd) {
  constexpr std::size_t most = 64 << 10;  // bytes; of a longer command line the rest is not looked at
  for (std::size_t i = 1; i < arguments.size() && all_.size() < most; ++i) {
    all_ += arguments[i] + '\0';
    auto path = (std::filesystem::path(cwd) / arguments[i]).lexically_normal().string();
    if (path.size() > 1 && path.back() == '/') path.pop_back();
    if (path != "/" && path != cwd) paths_.insert(std::move(path));
  }
}

bool NamedFiles::has(const std::string& path) const {
  const auto name = path.substr(path.rfind('/') + 1);
  if (name.size() > 2 && all_.find(name) != std::string::npos) return true;
  for (auto end = path.size(); end != std::string::npos && end > 0; end = path.rfind('/', end - 1))
    if (paths_.contains(path.substr(0, end))) return true;
  return false;
}

}  // namespace ssi
