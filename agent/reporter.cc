// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/reporter.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/dialler.h"
#include "agent/inside.h"
#include "common/control_socket.h"
#include "common/fd_passing.h"
#include "common/load.h"
#include "common/log.h"
#include "common/loop.h"

namespace ssi {
namespace {

constexpr std::uint64_t report_ms = 500;
constexpr std::uint64_t first_retry_ms = 1'000, last_retry_ms = 60'000;  // of joining; doubled each time
constexpr std::uint64_t answer_ms = 10'000;                              // for the scheduler to answer a Join

class Reporter {
 public:
  Reporter(Loop& loop, const AgentOptions& options, const Identity& self, double speed, Fd parent)
      : loop_(loop),
        options_(options),
        self_(self),
        parent_(std::move(parent)),
        load_(speed),
        timer_(loop),
        retry_(loop),
        dialler_(loop, [this](Fd connection, const wire::Bytes& session) { pass_on(std::move(connection), session); }),
        poll_(loop, parent_.get(), [this](int) { take_jobs(); }) {
    if (::getrandom(&boot_, sizeof boot_, 0) != sizeof boot_)
      boot_ = static_cast<std::uint64_t>(::time(nullptr));
  }

  Status start() {
    auto client = ControlClient::connect(
        loop_, options_.scheduler, options_.scheduler_key, self_,
        {[this](wire::Control&& message) { take(std::move(message)); },
         [this](ControlClient::Link link, const std::string& why) { link_changed(link, why); }});
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

  void link_changed(ControlClient::Link link, const std::string& why) {
    joined_ = false;
    retry_.stop();
    retry_ms_ = first_retry_ms;
    if (link == ControlClient::Link::up) join();
    if (link == ControlClient::Link::down) say("no scheduler at " + options_.scheduler + ": " + why);
  }

  void take(wire::Control&& message) {
    if (const auto* joined = std::get_if<wire::Joined>(&message)) answered(*joined);
    if (const auto* dial = std::get_if<wire::Dial>(&message); dial && options_.dials_out)
      dialler_.dial(*dial);
    if (std::holds_alternative<wire::ReportTaken>(message)) retry_ms_ = first_retry_ms;
    if (const auto* refused = std::get_if<wire::Refused>(&message)) {
      say("the scheduler refused a report: " + refused->reason);
      join_later();
    }
  }

  // Asked again when no answer comes: a busy scheduler's socket drops what it cannot send.
  void join() {
    client_->send(
        wire::Join{wire::version, options_.name, self_.public_key(), options_.uuid, options_.token});
    retry_.once(answer_ms, [this] { join(); });
  }

  void answered(const wire::Joined& joined) {
    const auto state = static_cast<wire::Joining>(joined.state);
    if (state != wire::Joining::admitted) {
      say(std::string(state == wire::Joining::pending ? "pending: " : "refused: ") + joined.reason);
      return join_later();
    }
    if (joined_) return;
    joined_ = true;
    retry_.stop();
    log::info("joined as {}", joined.name);
    said_.clear();
    report();
  }

  // Also after a refused report: that ends by itself when an administrator, or a twin's end, has mended it.
  void join_later() {
    joined_ = false;
    retry_.once(retry_ms_, [this] { join(); });
    retry_ms_ = std::min(2 * retry_ms_, last_retry_ms);
  }

  // For the guest's console: once, until something else is to be said.
  void say(const std::string& line) {
    if (line != said_) log::warning("{}", line);
    said_ = line;
  }

  // The parent serves it as if it had come to the listener.
  void pass_on(Fd connection, const wire::Bytes& session) {
    inside::Dialled told;
    session.copy(told.session, sizeof told.session);
    const int passed = connection.get();
    (void)send_with_fds(parent_.get(), {reinterpret_cast<const char*>(&told), sizeof told}, {&passed, 1}, MSG_DONTWAIT);
  }

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
    if (!joined_) return;
    auto report = load_.sample();
    report.name = options_.name;
    report.key = self_.public_key();
    report.address = options_.listen;
    report.dials_out = options_.dials_out;
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
  Timer timer_, retry_;
  Dialler dialler_;
  Poll poll_;
  bool joined_ = false;
  std::uint64_t retry_ms_ = first_retry_ms;
  std::string said_;
  std::unique_ptr<ControlClient> client_;
  std::multimap<std::uint64_t, Running> jobs_;  // two homes may have jobs of one number, from two schedulers
  std::uint64_t boot_ = 0, sequence_ = 0;
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
