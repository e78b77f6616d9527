// SPDX-License-Identifier: LGPL-2.1-or-later
// This guest's own key, bound to the Xen domain that made it: a copied or cloned disk that holds one starts in
// another domain, and must not pass for the first.
#pragma once

#include <string>

#include "common/identity.h"
#include "common/result.h"

namespace ssi {

// UUID of the Xen domain that we are; empty: none. Source: /sys/hypervisor/uuid, Documentation/ABI sysfs-hypervisor-xen.
std::string domain_uuid();

// The key in `file`, made when there is none, or when the one there is another domain's (FILE.domain says whose).
Result<Identity> domain_key(const std::string& file, const std::string& uuid);

}  // namespace ssi
