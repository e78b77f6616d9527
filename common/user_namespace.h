// SPDX-License-Identifier: LGPL-2.1-or-later
// What an ordinary user has of user namespaces: one, with a single id in it. Source: user_namespaces(7).
#pragma once

#include <sys/types.h>

#include <string_view>

#include "common/result.h"

namespace ssi {

struct Ids {
  uid_t uid;
  gid_t gid;
};

// Whether this user namespace has every id there is, as the machine's own has. In any other one not every home's user
// can be somebody: ids are squashed.
bool has_all_ids();
bool maps_all_ids(std::string_view uid_map);  // the content of /proc/PID/uid_map

// For a process that has just made its user namespace: makes it root there. `outside`: what its effective ids were
// before. Supplementary groups stay, without a name; setgroups(2) is denied from now on.
Status become_root_inside(const Ids& outside);

// The same, but its ids stay what they are: capabilities end with the next execve(2), unless they are root's.
Status keep_ids_inside(const Ids& outside);

}  // namespace ssi
