// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/reporter.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <memory>
#include <set>

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
  void take_jobs() {
    for (;;) {
      inside::JobsChanged change;
      const auto got = ::recv(parent_.get(), &change, sizeof change, MSG_DONTWAIT);
      if (got < 0) break;
      if (got != sizeof change) return loop_.stop();  // the parent is gone
      if (change.running)
        jobs_.insert(change.job);
      else
        jobs_.erase(change.job);
    }
    report();
  }

  void report() {
    if (!client_ || client_->link() != ControlClient::Link::up) return;
    auto report = load_.sample();
    report.name = options_.name;
    report.key = self_.public_key();
    report.address = options_.listen;
    report.boot = boot_;
    report.sequence = ++sequence_;
    report.jobs.assign(jobs_.begin(), jobs_.end());
    if (report.jobs.size() > 1000) report.jobs.resize(1000);  // the decoder's limit
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
  std::multiset<std::uint64_t> jobs_;
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
