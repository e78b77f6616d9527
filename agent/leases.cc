// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/leases.h"

namespace ssi {
namespace {

bool same_content(const wire::Attr& one, const wire::Attr& other) {
  return one.size == other.size && one.mtime == other.mtime && one.ctime == other.ctime;
}

}  // namespace

void Leases::told(std::uint64_t node, const wire::Attr& attr) {
  if (attr.brief) return forget(node);
  const auto [at, is_new] = told_.try_emplace(node);
  auto& told = at->second;
  if (is_new || !same_content(told.attr, attr)) told.number = ++numbers_;
  told.attr = attr;
  told.was_read = false;
}

const wire::Attr* Leases::attr(std::uint64_t node) const {
  const auto found = told_.find(node);
  return found == told_.end() ? nullptr : &found->second.attr;
}

void Leases::read_at_home(std::uint64_t node, std::int64_t now) {
  constexpr std::int64_t day = 24 * 3'600'000'000'000;
  const auto found = told_.find(node);
  if (found == told_.end()) return;
  const auto& attr = found->second.attr;
  const bool stays = attr.atime > attr.mtime && attr.atime > attr.ctime && now - attr.atime < day;
  if (!stays) found->second.was_read = true;
}

bool Leases::knows_access_time(std::uint64_t node) const {
  const auto found = told_.find(node);
  return found != told_.end() && !found->second.was_read;
}

void Leases::was_read(std::uint64_t node, std::int64_t atime) {
  const auto found = told_.find(node);
  if (found == told_.end()) return;
  found->second.attr.atime = atime;
  found->second.was_read = false;
}

std::uint64_t Leases::number(std::uint64_t node) const {
  const auto found = told_.find(node);
  return found == told_.end() ? 0 : found->second.number;
}

std::string Leases::target(std::uint64_t node) const {
  const auto found = targets_.find(node);
  return found == targets_.end() ? std::string() : found->second;
}

void Leases::gone(std::uint64_t node) {
  told_.erase(node);
  targets_.erase(node);
}

}  // namespace ssi
