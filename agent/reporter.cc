// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/reporter.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "agent/dialler.h"
#include "agent/inside.h"
#include "agent/membership.h"
#include "common/fd_passing.h"
#include "common/load.h"
#include "common/log.h"
#include "common/loop.h"

namespace ssi {
namespace {

constexpr std::uint64_t report_ms = 500;

class Reporter {
 public:
  Reporter(Loop& loop, const AgentOptions& options, const Identity& self, double speed, Fd parent)
      : loop_(loop),
        options_(options),
        self_(self),
        parent_(std::move(parent)),
        load_(speed),
        timer_(loop),
        dialler_(loop, [this](Fd connection, const wire::Bytes& session) { pass_on(std::move(connection), session); }),
        poll_(loop, parent_.get(), [this](int) { take_jobs(); }) {
    if (::getrandom(&boot_, sizeof boot_, 0) != sizeof boot_)
      boot_ = static_cast<std::uint64_t>(::time(nullptr));
  }

  Status start() {
    for (std::size_t i = 0; i < options_.schedulers.size(); ++i) {
      const auto& keys = options_.scheduler_keys;
      auto member = Membership::begin(loop_, options_, options_.schedulers[i], keys[keys.size() == 1 ? 0 : i], self_,
                                      {[this] { report(); },
                                       [this](const wire::Dial& dial) {
                                         if (options_.dials_out) dialler_.dial(dial);
                                       },
                                       [this](const wire::Drain& drain) { obey(drain); },
                                       [this](std::uint64_t epoch) { epoch_ = std::max(epoch_, epoch); }});
      if (!member) return tl::make_unexpected(member.error());
      memberships_.push_back(std::move(*member));
    }
    poll_.want(UV_READABLE);
    timer_.every(report_ms, [this] { report(); });
    return {};
  }

 private:
  struct Running {
    wire::JobUse use;
    std::uint64_t began_ms;
  };

  void tell_parent(inside::FromReporter::Kind kind, const wire::Bytes& session = {},
                   std::span<const int> fds = {}) {
    inside::FromReporter packet{kind};
    session.copy(packet.session, sizeof packet.session);
    (void)send_with_fds(parent_.get(), {reinterpret_cast<const char*>(&packet), sizeof packet}, fds,
                        MSG_DONTWAIT);
  }

  // The parent serves it as if it had come to the listener.
  void pass_on(Fd connection, const wire::Bytes& session) {
    const int passed = connection.get();
    tell_parent(inside::FromReporter::dialled, session, {&passed, 1});
  }

  // The parent remembers it, since we may die, and tells us what to report.
  void obey(const wire::Drain& drain) {
    tell_parent(drain.resume ? inside::FromReporter::resume : inside::FromReporter::drain);
    if (drain.now && !drain.resume) tell_parent(inside::FromReporter::end_jobs);
  }

  void take_jobs() {
    bool is_other = false;
    for (;;) {
      inside::JobsChanged change;
      const auto got = ::recv(parent_.get(), &change, sizeof change, MSG_DONTWAIT);
      if (got < 0) break;
      if (got == sizeof(inside::Draining)) {
        std::memcpy(&draining_, &change, sizeof draining_);
        is_other = true;
        continue;
      }
      if (got != sizeof change) return loop_.stop();  // the parent is gone
      if (change.kind == inside::JobsChanged::used)
        note_use(change);
      else
        is_other = true;
      if (change.kind == inside::JobsChanged::started) jobs_.emplace(change.job, started(change));
      const auto job = jobs_.find(change.job);
      if (change.kind == inside::JobsChanged::ended && job != jobs_.end()) jobs_.erase(job);
    }
    if (is_other) report();  // what they use can wait for the next one
  }

  Running started(const inside::JobsChanged& change) const {
    Running job{{}, uv_now(loop_.uv())};
    job.use.job = change.job;
    job.use.user = inside::text_of(change.names.user);
    job.use.home = inside::text_of(change.names.home);
    job.use.command = inside::text_of(change.names.command);
    return job;
  }

  void note_use(const inside::JobsChanged& change) {
    const auto job = jobs_.find(change.job);
    if (job == jobs_.end()) return;
    job->second.use.cpu_us = change.cpu_us;
    job->second.use.memory = change.memory;
  }

  void report() {
    auto report = load_.sample();
    report.name = options_.name;
    report.key = self_.public_key();
    report.address = options_.listen;
    report.dials_out = options_.dials_out;
    report.draining = draining_.yes != 0;
    report.epoch = epoch_;
    report.boot = boot_;
    report.sequence = ++sequence_;
    for (const auto& [id, job] : jobs_) {
      if (report.jobs.size() == 1000) break;  // the decoder's limit
      report.jobs.push_back(id);
      report.used.push_back(job.use);
      report.used.back().seconds = static_cast<double>(uv_now(loop_.uv()) - job.began_ms) / 1000;
    }
    for (const auto& member : memberships_) member->report(report);
  }

  Loop& loop_;
  const AgentOptions& options_;
  const Identity& self_;
  Fd parent_;
  Load load_;
  Timer timer_;
  Dialler dialler_;
  Poll poll_;
  std::vector<std::unique_ptr<Membership>> memberships_;  // one for each scheduler
  std::multimap<std::uint64_t, Running> jobs_;  // two homes may have jobs of one number, from two schedulers
  inside::Draining draining_{0};
  std::uint64_t boot_ = 0, sequence_ = 0, epoch_ = 0;
};

}  // namespace

int run_reporter(const AgentOptions& options, const Identity& self, double speed, Fd parent) {
  if (const auto given_up = give_up_privileges(options); !given_up) {
    log::error("{}", given_up.error().text());
    return 1;
  }
  Loop loop;
  Reporter reporter(loop, options, self, speed, std::move(parent));
  if (const auto started = reporter.start(); !started) {
    log::error("{}", started.error().text());
    return 1;
  }
  loop.run();
  return 0;
}

}  // namespace ssi
