// SPDX-License-Identifier: LGPL-2.1-or-later
// A job that does not go its way: that stays at home, is called home, fails, or loses its caller. One that loses its guest is in
// job_again.cc.
#include <algorithm>
#include <csignal>
#include <utility>

#include "common/log.h"
#include "common/printable.h"
#include "deputy/deputy.h"
#include "deputy/job.h"

namespace ssi {
namespace {

constexpr std::size_t longest_reason = 300;  // bytes: the guest says it

}  // namespace

void Job::home(const std::string& reason) {
  release_guest();
  state_ = State::placing;  // there is no guest any more
  if (request_.has(HANDOVER_DRY_RUN)) {
    if (never_home_)
      caller_.failed(reason);
    else
      caller_.placed("home: " + reason);
    return over();
  }
  if (never_home_) return fail(again_after_.empty() ? reason : again_after_ + "; " + reason);
  const auto pid = caller_.pid();
  if (!pid) return fail(pid.error().text());
  log::info("home ({}): {}", reason, request_.command_line());
  if (!kept_.left_no_trace())
    return fail(again_after_ + "; no other guest could take it (" + reason +
                "), and at home it would repeat what it had said or lack what it had read");
  deputy_.slots().take(
      {*pid, HomeSlots::pipes(request_.stdio())},
      [this, alive = alive_, reason] {
        if (!*alive) return;
        record_->began_at_home(reason);
        // What was given up at the start is given back.
        const bool was_given_up = !needs_.empty() || !again_after_.empty();
        if (was_given_up) {
          for (auto& ours : withheld_) request_.descriptors.push_back(std::move(ours));
          std::ranges::sort(request_.descriptors, {}, &PassedFd::number);  // as they came
        }
        caller_.home(reason, was_given_up ? std::move(request_.descriptors) : std::vector<PassedFd>());
        over();
      },
      [&deputy = deputy_, record = record_] { record->ended_at_home(deputy.home_speed()); });
}

// A task of the job waits for what it cannot have in a guest. Its leader is killed, so that nothing changes any more, and
// when the word of its end has come, behind all that it did, we know whether it may run once more.
void Job::needs_home(const std::string& reason) {
  if (state_ == State::surviving || state_ == State::settling) {  // nobody waits for what is left of it
    log::warning("job={} killed what outlived it: it {}", place_.job, printable(reason));
    kill();
    return gone();
  }
  if (!needs_.empty() || state_ == State::undoing) return;
  needs_ = reason.substr(0, longest_reason);
  // Perhaps its own program is what it cannot have: then it only starts when it dies.
  if (state_ != State::running && state_ != State::starting) return;
  for (const auto to : {wire::Signal::group, wire::Signal::leader})  // which may have left its group
    guest_->session().post(wire::Signal{place_.job, SIGKILL, static_cast<std::uint8_t>(to)});
}

// A guest can have as many as it likes; the user gets one.
void Job::remark(const std::string& line) {
  if (state_ == State::surviving || std::exchange(remarked_, true)) return;
  caller_.warn(printable(line.substr(0, longest_reason)));
}

void Job::fail(const std::string& line) {
  if (state_ == State::running || state_ == State::settling) kill();
  record_->failed();
  caller_.failed(line);
  end_stop();
  over();
}

// In the lane of Start, which it must not overtake.
void Job::kill() {
  if (!guest_) return;  // nothing of it is left
  guest_->session().post(wire::Kill{place_.job}, {}, Session::Lane::bulk);
}

void Job::caller_gone() {
  if (state_ == State::running || state_ == State::starting || state_ == State::settling) kill();
  if (state_ != State::surviving) over();
}

void Job::release_guest() {
  if (schedulers_ && question_ != 0) schedulers_->cancel(std::exchange(question_, 0));
  if (!guest_) return;
  if (schedulers_) schedulers_->ended(place_.job, 0);
  guest_->detach(place_.job);
  guest_.reset();
}

void Job::over() {
  if (state_ == State::over) return;
  if (place_.job && state_ != State::undoing) deputy_.effects().settle(place_.job);
  state_ = State::over;
  loop_.defer([this, alive = alive_] {
    if (!*alive) return;
    release_guest();
    record_->abandoned();
    deputy_.forget(*this);
  });
}

}  // namespace ssi
