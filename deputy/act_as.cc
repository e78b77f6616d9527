// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/act_as.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace ssi {
namespace {

constexpr auto no_id = static_cast<uid_t>(-1);

std::vector<gid_t> read_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  ::getgroups(static_cast<int>(groups.size()), groups.data());
  return groups;
}

// Read once, before the first change.
const std::vector<gid_t>& own_groups() {
  static const auto groups = read_groups();
  return groups;
}

std::vector<gid_t> groups_of(uid_t uid, gid_t gid) {
  const auto* user = ::getpwuid(uid);
  if (!user) return {gid};
  int count = 64;
  std::vector<gid_t> groups(64);
  while (::getgrouplist(user->pw_name, gid, groups.data(), &count) < 0)
    groups.resize(static_cast<std::size_t>(count));
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

// Not setgroups(3): that changes every thread of the process.
bool set_groups(const std::vector<gid_t>& groups) {
  return ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

// setfsuid(2) returns the former id, whether it worked or not; an impossible id only asks.
bool set_fsuid(uid_t uid) {
  ::setfsuid(uid);
  return static_cast<uid_t>(::setfsuid(no_id)) == uid;
}

bool set_fsgid(gid_t gid) {
  ::setfsgid(gid);
  return static_cast<gid_t>(::setfsgid(no_id)) == gid;
}

struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
};

// Of the calling thread; not by libcap, which asks the kernel more often.
Capabilities own_capabilities() {
  Capabilities own;
  if (::syscall(SYS_capget, &own.header, own.sets) != 0) std::abort();
  return own;
}

bool set_capabilities(Capabilities capabilities) {
  return ::syscall(SYS_capset, &capabilities.header, capabilities.sets) == 0;
}

// setfsuid(2) takes only what is about files from the effective set. A user has not the rest either: CAP_SYS_RESOURCE
// would write beyond his quota, CAP_LEASE and others would let him be more than at home. All come back from the permitted set.
bool take_capabilities() {
  auto none = own_capabilities();
  for (auto& set : none.sets) set.effective = 0;
  return set_capabilities(none);
}

bool give_capabilities_back() {
  auto all = own_capabilities();
  for (auto& set : all.sets) set.effective = set.permitted;
  return set_capabilities(all);
}

}  // namespace

Rights Callers::rights(const wire::Caller& caller) {
  if (::geteuid() != 0 || (caller.uid == 0 && caller.gid == ::getegid())) return {};
  if (caller.has_groups) return {false, caller.uid, caller.gid, {caller.groups.begin(), caller.groups.end()}};
  if (known_.size() > 4096) known_.clear();  // a guest may make callers up
  const auto [place, isnew] = known_.try_emplace({caller.uid, caller.gid});
  if (isnew) place->second = {false, caller.uid, caller.gid, groups_of(caller.uid, caller.gid)};
  return place->second;
}

ActAs::ActAs(const Rights& rights) : own_(rights.own) {
  if (own_) return;
  own_groups();
  // The groups first, and the capabilities last: CAP_SETGID is one of them. An id of -1 would change nothing, and the
  // caller would act as root.
  done_ = rights.uid != no_id && rights.gid != no_id && set_groups(rights.groups) && set_fsgid(rights.gid) &&
          set_fsuid(rights.uid) && (rights.uid == 0 || take_capabilities());
}

ActAs::~ActAs() {
  if (own_) return;
  // Going on with another's rights would be wrong for every later request.
  if (!give_capabilities_back() || !set_fsuid(::geteuid()) || !set_fsgid(::getegid()) ||
      !set_groups(own_groups()))
    std::abort();
}

}  // namespace ssi
