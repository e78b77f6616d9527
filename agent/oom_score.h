// SPDX-License-Identifier: LGPL-2.1-or-later
// Whom the kernel kills when a guest's memory is used up: a process of a job, however small, and not what holds the sessions
// of all. Source: proc(5), oom_score_adj.
#pragma once

namespace ssi::oom_score {

// The stem stands between: what it had less than 0 its jobs could give themselves.
inline constexpr int agent = -900, stem = 0, stem_of_unprotected = 300;

// The caller's own. False: it lacks the right to lower it (CAP_SYS_RESOURCE). What is written with that right is also the
// lowest that descendants without it can give themselves.
bool set(int score);

void raise_job();  // the caller, a child of the stem that has not yet become a job, above the stem

}  // namespace ssi::oom_score
