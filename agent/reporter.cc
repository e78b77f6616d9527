// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/reporter.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <map>
#include <memory>

#include "agent/inside.h"
#include "common/control_socket.h"
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
        poll_(loop, parent_.get(), [this](int) { take_jobs(); }) {
    if (::getrandom(&boot_, sizeof boot_, 0) != sizeof boot_)
      boot_ = static_cast<std::uint64_t>(::time(nullptr));
  }

  Status start() {
    auto client =
        ControlClient::connect(loop_, options_.scheduler, options_.scheduler_key, self_,
                               {[](wire::Control&& message) {
                                  if (const auto* refused = std::get_if<wire::Refused>(&message))
                                    log::warning("the scheduler refused a report: {}", refused->reason);
                                },
                                [this](ControlClient::Link link, const std::string& why) {
                                  if (link == ControlClient::Link::up) report();
                                  if (link == ControlClient::Link::down)
                                    log::warning("no scheduler at {}: {}", options_.scheduler, why);
                                }});
    if (!client) return tl::make_unexpected(client.error());
    client_ = std::move(*client);
    poll_.want(UV_READABLE);
    timer_.every(report_ms, [this] { report(); });
    return {};
  }

 private:
  struct Running {
    wire::JobUse use;
    std::uint64_t began_ms;
  };

  void take_jobs() {
    bool is_other = false;
    for (;;) {
      inside::JobsChanged change;
      const auto got = ::recv(parent_.get(), &change, sizeof change, MSG_DONTWAIT);
      if (got < 0) break;
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
    if (!client_ || client_->link() != ControlClient::Link::up) return;
    auto report = load_.sample();
    report.name = options_.name;
    report.key = self_.public_key();
    report.address = options_.listen;
    report.boot = boot_;
    report.sequence = ++sequence_;
    for (const auto& [id, job] : jobs_) {
      if (report.jobs.size() == 1000) break;  // the decoder's limit
      report.jobs.push_back(id);
      report.used.push_back(job.use);
      report.used.back().seconds = static_cast<double>(uv_now(loop_.uv()) - job.began_ms) / 1000;
    }
    client_->send(report);
  }

  Loop& loop_;
  const AgentOptions& options_;
  const Identity& self_;
  Fd parent_;
  Load load_;
  Timer timer_;
  Poll poll_;
  std::unique_ptr<ControlClient> client_;
  std::multimap<std::uint64_t, Running> jobs_;  // two homes may have jobs of one number, from two schedulers
  std::uint64_t boot_ = 0, sequence_ = 0;
};

}  // namespace

int run_reporter(const AgentOptions& options, const Identity& self, double speed, Fd parent) {
  if (const auto given_up = give_up_privileges(); !given_up) {
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
