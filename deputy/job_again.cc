// SPDX-License-Identifier: LGPL-2.1-or-later
// A job that is run again: its guest was lost, or only home can go on with it. What it has changed is undone first; what it has
// read is given to it again; what it has said is compared, and not said twice. Where that cannot be done it ends with 125, and
// its files stay as they are.
#include <csignal>
#include <utility>

#include "common/log.h"
#include "common/printable.h"
#include "deputy/deputy.h"
#include "deputy/job.h"

namespace ssi {

void Job::lost(const Error& why) {
  if (state_ == State::over || state_ == State::undoing) return;
  if (state_ == State::surviving) return over();
  if (state_ == State::settling) {  // status and output are here; only a slow reader is waited for
    gone_ = true;                   // nobody will tell any more
    return;
  }
  // One whose start was not acknowledged may have run: then it must not run twice.
  const bool may_have_run = state_ == State::starting && !deputy_.effects().standing(place_.job).clean;
  if (state_ != State::running && !may_have_run) return home(place_.guest + " was lost: " + why.text());
  const auto what = place_.guest + " was lost while the job ran (" + why.text() + ")";
  if (const auto not_again = may_have_run ? "its start was not acknowledged" : why_not_again(); !not_again.empty())
    return fail_not_again(what, not_again);
  roll_back(what, [this, what] { needs_.empty() ? run_again(what) : go_home_again(what); });
}

void Job::fail_not_again(const std::string& what, const std::string& why) {
  fail(what + "; it is not run again, since " + why + "; what it had written stays as it is");
}

// It has killed the job, for want of memory or for nothing that the job did: home may do better, or another guest.
void Job::failed_by_guest(const std::string& what) {
  kill();
  roll_back(what, [this, what] { run_again(what); });
}

std::string Job::why_not_again() const {
  if (!request_.guest.empty()) return "--on names its guest";
  if (retries_left_ == 0) return "--retries allows no more";
  if (auto why = streams_->why_not_again(); !why.empty()) return why;
  return deputy_.effects().standing(place_.job).not_rerunnable;
}

// `after` what it is that is done.
void Job::roll_back(const std::string& after, std::function<void()> then) {
  state_ = State::undoing;
  stop_watch_.reset();
  end_stop();
  patience_.stop();
  kept_ = streams_->take_back();
  streams_.reset();
  files_.rewind();
  files_ = {};
  record_->abandoned();
  log::warning("job={} {}: rolled back", place_.job, after);
  const auto undone = [this, alive = alive_, &effects = deputy_.effects(), job = place_.job, after,
                       then = std::move(then)](const Status& undone) {
    effects.settle(job);
    if (!*alive || state_ != State::undoing) return;
    if (!undone)
      return fail(after + "; what it had changed could not be undone: " + printable(undone.error().text()));
    then();
  };
  deputy_.effects().undo(place_.job, undone);
}

// Only that can help it now.
void Job::go_home_again(const std::string& after) {
  again_after_ = after;
  request_.descriptors = std::move(kept_.descriptors);
  kept_.descriptors.clear();
  kept_.channel.reset();
  home(after);
}

bool Job::is_between_runs() const {
  return state_ == State::undoing ||
         (!again_after_.empty() && (state_ == State::placing || state_ == State::dialling));
}

// Whether it would die of that, had it no handler: ssirun has handed its signals over, and nobody else acts on them.
bool Job::ends_by(int signal) const {
  const bool kept_off = (request_.fields.blocked | request_.fields.ignored) >> (signal - 1) & 1;
  return !kept_off && (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT);
}

void Job::end_by(int signal) {
  record_->failed();
  caller_.exited(signal, ~std::uint64_t{0}, {}, {});
  over();
}

void Job::run_again(const std::string& after) {
  again_after_ = after;
  --retries_left_;
  failed_it_.push_back(place_.guest);
  release_guest();
  gone_ = false;
  request_.descriptors = std::move(kept_.descriptors);
  request_.channel = std::move(kept_.channel);
  kept_.descriptors.clear();
  state_ = State::placing;
  const auto config = deputy_.config(request_.config_file);
  if (!config) return home(config.error().text());
  place(*config);
}

// Its leader was killed, and all that it did is here.
void Job::recall() {
  kill();  // the rest of it
  const auto what = printable(needs_);
  if (needs_.starts_with("needs ")) record_->needs_home(what);  // a file that is hidden: the next time at once
  const bool undoable = deputy_.effects().standing(place_.job).not_rerunnable.empty();
  const bool has_read = !streams_->why_not_again().empty() || streams_->has_taken();
  if (never_home_ || has_read || !streams_->silent() || !undoable) {
    state_ = State::settling;
    stop_watch_.reset();
    return streams_->flushed(
        [this, what] { fail(request_.command() + " " + what + ": run it with --local"); });
  }
  roll_back(place_.guest + ": it " + what, [this, what] { go_home_again(place_.guest + ": it " + what); });
}

void Job::output_differs() {
  fail(again_after_ + "; run again on " + place_.guest +
       " its output differs from what had been delivered; what it has written stays as it is");
}

}  // namespace ssi
