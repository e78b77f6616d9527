// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/drain.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>

#include "cli/options.h"
#include "cli/status_query.h"
#include "cli/table.h"

namespace ssi {
namespace {

using Clock = std::chrono::steady_clock;

// A scheduler that was restarted has yet to hear of the guest; another one than took the order, of its draining.
constexpr auto unknown_for = std::chrono::seconds(5);
constexpr int resumed_ms = 5'000;
constexpr int for_ever_ms = std::numeric_limits<int>::max();

// One line on a terminal, written anew as the number changes; else a line for each number.
class Progress {
 public:
  explicit Progress(std::string guest) : guest_(std::move(guest)) {}
  ~Progress() {
    if (shown_ && is_terminal_) fmt::print(stderr, "\r\x1b[K");
  }
  void show(std::size_t jobs) {
    if (shown_ == jobs) return;
    shown_ = jobs;
    fmt::print(stderr, "{}{}: {} {}{}", is_terminal_ ? "\r" : "", printable(guest_), jobs,
               jobs == 1 ? "job runs" : "jobs run", is_terminal_ ? "\x1b[K" : "\n");
    std::fflush(stderr);
  }

 private:
  std::string guest_;
  std::optional<std::size_t> shown_;
  const bool is_terminal_ = ::isatty(2) != 0;
};

// Asks again and again until `enough` says so of the guest; an error: it is gone, or `enough`'s own.
Status watch_guest(const std::string& name, int timeout_ms,
                   const std::function<Result<bool>(const wire::GuestStatus&)>& enough) {
  const auto scheduler = known_scheduler();
  if (!scheduler) return tl::make_unexpected(scheduler.error());
  const auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  auto known = Clock::now();
  auto watched = watch_status(
      *scheduler, *self, timeout_ms,
      [&](const wire::StatusReply& now) -> Result<bool> {
        const auto guest = std::ranges::find(now.guests, name, &wire::GuestStatus::name);
        if (guest != now.guests.end() && guest->state != "gone") {
          known = Clock::now();
          return enough(*guest);
        }
        if (guest == now.guests.end() && Clock::now() - known < unknown_for) return false;
        return failure(name + " is gone");
      },
      [] { return Status(); });
  if (!watched) return tl::make_unexpected(watched.error());
  return {};
}

// The one word that names the guest; or the exit status.
Result<std::string> guest_in(const Options& options, int& status) {
  if (options.words().size() == 1) return options.words()[0];
  status = options.words().empty() ? options.usage_error("which guest?")
                                   : options.usage_error("'" + options.words()[1] + "' is one word too many");
  return failure("");
}

}  // namespace

int drain_command(int argc, char** argv) {
  bool now = false;
  Options options(
      "ssi drain",
      "usage: ssi drain GUEST [--now]\n"
      "The guest takes no new jobs until 'ssi resume GUEST', or until its agent is started anew. Those "
      "that run end by\n"
      "themselves; waits for that (^C leaves the guest as it is: draining). Wants an administrator's "
      "key.\n"
      "  --now   its jobs end too, as if the machine were lost; does not wait\n");
  options.flag("now", now);
  if (auto status = options.parse(argc, argv)) return *status;
  int wrong = 0;
  const auto guest = guest_in(options, wrong);
  if (!guest) return wrong;
  const auto told = ask_known<wire::Drained>(wire::Drain{1, *guest, 0, now});
  if (!told) return options.failed(told.error().text());
  if (now) return fmt::print("{} is draining; its jobs were ended\n", printable(*guest)), 0;
  {
    Progress progress(*guest);
    const auto began = Clock::now();
    bool was_draining = false;
    const auto empty = watch_guest(*guest, for_ever_ms, [&](const wire::GuestStatus& is) -> Result<bool> {
      if (is.state != "draining") {
        if (!was_draining && Clock::now() - began < unknown_for) return false;
        return failure(*guest + " was resumed");
      }
      was_draining = true;
      const auto jobs = is.jobs.size() + is.promised;
      if (jobs > 0) progress.show(jobs);
      return jobs == 0;
    });
    if (!empty) return options.failed(empty.error().text());
  }
  fmt::print("{} is drained\n", printable(*guest));
  return 0;
}

int resume_command(int argc, char** argv) {
  Options options("ssi resume",
                  "usage: ssi resume GUEST\n"
                  "The guest takes jobs again, after 'ssi drain'. Wants an administrator's key.\n");
  if (auto status = options.parse(argc, argv)) return *status;
  int wrong = 0;
  const auto guest = guest_in(options, wrong);
  if (!guest) return wrong;
  const auto told = ask_known<wire::Drained>(wire::Drain{1, *guest, 1, 0});
  if (!told) return options.failed(told.error().text());
  bool is_up = false;
  const auto watched = watch_guest(*guest, resumed_ms, [&](const wire::GuestStatus& is) -> Result<bool> {
    return is_up = is.state == "up";
  });
  if (!watched) return options.failed(watched.error().text());
  if (!is_up) return options.failed(*guest + " takes no jobs all the same: its agent is ending");
  fmt::print("{} takes jobs\n", printable(*guest));
  return 0;
}

}  // namespace ssi
