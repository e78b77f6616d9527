// SPDX-License-Identifier: LGPL-2.1-or-later
// The agent of an ordinary user: root of a user namespace of its own, and of nothing else.
#pragma once

#include "common/result.h"

namespace ssi {

// Makes user, mount and pid namespaces and goes on in a child that is root and pid 1 in them. It sees this machine as
// before, with inside::view_path added. The caller stays behind: passes SIGTERM on, and exits as the child does.
Status become_root_of_own_namespaces();

// Becoming another user is not possible where there is one id only. So the processes that parse what comes from the
// network go into a user namespace beside the stems', where they have no say over them, and drop all capabilities.
Status give_up_capabilities();

}  // namespace ssi
