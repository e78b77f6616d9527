// SPDX-License-Identifier: LGPL-2.1-or-later
// Why a job stays home without a scheduler being asked: what its request, its rule and its last runs tell.
#include <fmt/format.h>

#include <algorithm>

#include "common/input_size.h"
#include "common/printable.h"
#include "common/rules.h"
#include "deputy/context.h"
#include "deputy/deputy.h"
#include "deputy/descriptors.h"
#include "deputy/job.h"
#include "deputy/jobserver.h"
#include "deputy/reaching_shells.h"
#include "deputy/special_argument.h"

namespace ssi {
namespace {

// A grace of no time at all would mean that the session is not to be resumed.
std::uint64_t to_ms(double seconds) {
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::min(seconds, 1e6) * 1000));
}

}  // namespace

Result<std::string> Job::reason_for_home(const Config& config) {
  const auto pid = caller_.pid();
  if (!pid) return tl::make_unexpected(pid.error());
  auto theirs = read_context("/proc/" + std::to_string(*pid));
  if (!theirs) return tl::make_unexpected(theirs.error());
  if (auto differs = excuse(deputy_.context(), *theirs, *pid); !differs.empty()) return differs;
  if (auto differs = difference(deputy_.context(), *theirs); !differs.empty()) return differs;
  if (!request_.has(HANDOVER_HAS_CWD)) return std::string("the current directory has been deleted");
  const auto argv = request_.argv();
  const auto ruling = judge(config, {request_.path, argv, request_.cwd, request_.variables(),
                                     [&] { return input_size(request_.cwd, argv); }});
  if (ruling.rule) {
    record_->under(*ruling.rule);
    min_seconds_ = ruling.rule->min_seconds;
    grace_ms_ = to_ms(ruling.rule->grace);
    undo_bytes_ = ruling.rule->undo;
    if (auto reason = ssi::reason_for_home(*ruling.rule); !reason.empty() && !never_home_) return reason;
    obey(*ruling.rule);
    return std::string();
  }
  if (request_.has(HANDOVER_DIVERTED)) {
    const auto why = ruling.missed.empty()
                         ? ""
                         : fmt::format(" ({}: {})", place_of(*ruling.missed[0].rule), ruling.missed[0].why);
    return "no rule diverts this " + request_.command() + why;
  }
  if (config.policy == Policy::local && !never_home_) return std::string("[defaults] says local");
  prefers_guest_ = config.policy == Policy::remote;
  min_seconds_ = config.min_seconds;
  grace_ms_ = to_ms(config.grace);
  undo_bytes_ = config.undo;
  return std::string();
}

std::string Job::take_descriptors() {
  if (!leave_jobserver()) return "it shares its make's jobserver";
  auto described = describe(request_.descriptors, deputy_.policy());
  if (!described) return described.error().text();
  descriptors_ = std::move(*described);
  const auto* pipe = pipes_ || never_home_ ? nullptr : pipe_above_stdio(descriptors_);
  return pipe ? fmt::format("descriptor {} is a pipe, and its rule says pipes = false", pipe->fd) : "";
}

// Its tokens stay here: whatever the command starts counts as the one job of its make's that the command is.
bool Job::leave_jobserver() {
  const auto jobserver = jobserver_of(request_.environment);
  if (!jobserver) return true;
  if (hands_out_jobs(request_.command()) && !never_home_) return false;
  request_.environment = without_jobserver(request_.environment);
  withheld_ = take_pipe(request_.descriptors, jobserver->read, jobserver->write);
  return true;
}

// What was typed for this one command comes before its rule.
void Job::obey(const Rule& rule) {
  auto& fields = request_.fields;
  prefers_guest_ = rule.policy == Policy::remote;
  pipes_ = rule.pipes;
  if (rule.fallback == Fallback::fail) never_home_ = true;
  if (rule.fallback == Fallback::wait && !may_wait_) {
    may_wait_ = true;
    fields.wait_seconds = -1;
  }
  if (fields.cpus == 0) fields.cpus = rule.cpus;
  if (fields.memory == 0) fields.memory = rule.memory;
  request_.environment = without_variables(request_.environment, rule.env_drop);
}

bool Job::guest_is_wanted() const {
  return never_home_ || !request_.guest.empty();
}

// What it would only find out in its guest.
std::string Job::hidden_need() const {
  if (guest_is_wanted()) return {};
  const auto& policy = deputy_.policy();
  if (policy.kept_path(request_.cwd) == Kept::hidden) return "its directory is hidden from guests";
  auto words = request_.argv();
  if (!words.empty()) words[0] = request_.path;
  if (const auto path = hidden_argument(policy, request_.cwd, words); !path.empty())
    return "it needs " + printable(path) + ", which is hidden from guests";
  return record_->needed_home();
}

// A short one that would wait at home for a processor may well be faster elsewhere: that is for the scheduler to say.
std::string Job::predicted_short() const {
  if (guest_is_wanted() || prefers_guest_ || request_.has(HANDOVER_WAIT)) return {};
  auto why = record_->too_short(min_seconds_, deputy_.home_speed());
  const auto pid = caller_.pid();
  if (!why.empty() && pid && deputy_.slots().would_wait({*pid, HomeSlots::pipes(request_.stdio())})) return {};
  return why;
}

}  // namespace ssi
