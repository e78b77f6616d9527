// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a caller stands where the deputy stands. The deputy serves files and judges rights as itself, so a job may be
// diverted only for a caller with the same root, namespaces, ids, groups and capabilities. What our own shells change of
// that is taken out before (deputy/reaching_shells.h).
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>

#include "common/result.h"

namespace ssi {

struct Context {
  std::map<std::string, std::string, std::less<>> facts;  // "mount namespace" -> "mnt:[4026531841]", …
};

// Source: /proc/PID/{root,ns/mnt,ns/user,status}.
Result<Context> read_context(const std::string& proc_directory);

// The lines of /proc/PID/status that matter.
std::map<std::string, std::string, std::less<>> status_facts(std::string_view status);

// Empty when a job of `caller` may be diverted; else the reason for home, one line.
std::string difference(const Context& deputy, const Context& caller);

}  // namespace ssi
