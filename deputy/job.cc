// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/job.h"

#include <pwd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include "common/listener.h"
#include "common/log.h"
#include "common/printable.h"
#include "deputy/deputy.h"
#include "deputy/descriptors.h"
#include "deputy/program_needs.h"
#include "deputy/set_id.h"
#include "deputy/special_argument.h"

namespace ssi {
namespace {

const std::string& user_name() {
  static const std::string name = [] {
    const passwd* entry = ::getpwuid(::geteuid());
    return entry ? std::string(entry->pw_name) : std::to_string(::geteuid());
  }();
  return name;
}

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::vector<std::uint32_t> own_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  groups.resize(
      static_cast<std::size_t>(std::max(::getgroups(static_cast<int>(groups.size()), groups.data()), 0)));
  return {groups.begin(), groups.end()};
}

handover_modes to_handover(const wire::Modes& modes) {
  handover_modes told{modes.input, modes.output, modes.control, modes.local, {}};
  std::memcpy(told.characters, modes.characters.data(),
              std::min(modes.characters.size(), sizeof told.characters));
  return told;
}

wire::Modes to_wire(const handover_modes& modes) {
  return {modes.input, modes.output, modes.control, modes.local,
          wire::Bytes(reinterpret_cast<const char*>(modes.characters), sizeof modes.characters)};
}

wire::WindowSize to_wire(const handover_window& window) {
  return {window.rows, window.columns, window.x_pixels, window.y_pixels};
}

// Descriptors, for its streams, a guest, and the first files: one that starts with fewer left would fail soon.
constexpr std::size_t job_needs = 32;
constexpr std::uint64_t stop_ms = 10;             // a job that goes on within it was not stopped
constexpr std::uint64_t stops_within_ms = 1'000;  // a caller that is told to, and seen to

constexpr std::uint64_t stderr_ms =
    50;  // a job that ends has closed it just before, and we may have something to say

std::uint64_t terminal_taken(const wire::Exited& how) {
  for (const auto& position : how.positions)
    if (position.fd == wire::Data::terminal) return position.value;
  return ~std::uint64_t{0};  // nobody knows: then all of it
}

}  // namespace

Job::Job(Loop& loop, Deputy& deputy, Fd caller)
    : loop_(loop),
      deputy_(deputy),
      caller_(loop, std::move(caller)),
      patience_(loop),
      record_(std::make_shared<JobRecord>(deputy.history())),
      stopping_(loop) {
  caller_.listen({[this](RunRequest&& request) { take(std::move(request)); },
                  [this](const handover_signal& got) { signal(got); },
                  [this](pid_t pid) {
                    witness_ = pid;
                    if (stop_watch_) stop_watch_->witness(pid);
                  },
                  [this](const handover_window& window) {
                    request_.fields.window = window;
                    if (state_ == State::running)
                      guest_->session().post(wire::Resize{place_.job, to_wire(window)});
                  },
                  [this] {
                    signal({SIGHUP, HANDOVER_TO_FOREGROUND});
                  },
                  [this](bool yes) {
                    background_ = !yes;
                    if (state_ == State::running) guest_->session().post(wire::Foreground{place_.job, yes});
                  },
                  [this](const handover_kill& kill) {
                    auto* job = kill.job && caller_.pid() ? deputy_.find(kill.job) : nullptr;
                    if (job) job->signal({kill.signal, HANDOVER_TO_GROUP});
                    return job != nullptr;
                  },
                  [this] { caller_gone(); }});
}

Job::~Job() {
  *alive_ = false;
  deputy_.inputs().release(*this);
}

// ------------------------------------------------------------------------------------------------- hand over

void Job::take(RunRequest&& request) {
  if (state_ != State::reading) return caller_gone();
  request_ = std::move(request);
  background_ = request_.has(HANDOVER_BACKGROUND);
  state_ = State::placing;
  began_ = uv_now(loop_.uv());
  never_home_ = request_.has(HANDOVER_REMOTE);
  may_wait_ = request_.has(HANDOVER_WAIT);
  retries_left_ = request_.fields.retries;
  if (auto& file = request_.config_file; !file.empty() && file[0] != '/') file = request_.cwd + "/" + file;
  record_->identify(request_, user_name(), host_name());
  if (request_.lost_descriptors || !descriptors_left(job_needs))
    return home("the deputy is " + no_descriptors());
  auto config = deputy_.config(request_.config_file);
  if (!config) {
    // Who typed ssirun is told what is wrong; what the shim diverts must not get a line that it has not at home.
    if (!never_home_ && !request_.has(HANDOVER_DIVERTED))
      caller_.warn(config.error().text() + "; running at home");
    return home(config.error().text());
  }
  const auto reason = reason_for_home(*config);
  if (!reason) return home(reason.error().text());
  if (!reason->empty()) return home(*reason);
  if (const auto why = take_descriptors(); !why.empty()) return home(why);
  if (const auto why = hidden_need(); !why.empty()) return home(why);
  if (const auto why = predicted_short(); !why.empty()) return home(why);
  if (const auto lost =
          set_id_remark(request_.path[0] == '/' ? request_.path : request_.cwd + "/" + request_.path);
      !lost.empty()) {
    if (!never_home_) return home(printable(lost));
    remark(lost);
  }
  if (const auto why = never_home_ ? "" : special_argument(request_.cwd, request_.argv()); !why.empty())
    return home(printable(why) + ", which only home can serve");
  if (!deputy_.inputs().claim(*this, request_.descriptors, descriptors_))
    return home("another job reads its standard input");
  place(*config);
}

// ----------------------------------------------------------------------------------------------------- place

void Job::place(const Config& config) {
  auto schedulers = deputy_.schedulers(config, request_.scheduler);
  if (!schedulers) return home(schedulers.error().text());
  schedulers_ = *schedulers;
  wire::Place question;
  question.user = user_name();
  question.home = host_name();
  question.home_key = deputy_.identity().public_key();
  question.command = request_.command();
  question.guest = request_.guest;
  question.never_home = never_home_ || prefers_guest_ || !kept_.left_no_trace();
  question.may_wait = may_wait_;
  question.cpus = request_.fields.cpus;
  question.memory = request_.fields.memory;
  question.avoid = deputy_.set_aside();
  question.avoid.insert(question.avoid.end(), failed_it_.begin(), failed_it_.end());
  if (const auto& known = record_->prediction()) {
    question.cpu_seconds = known->work;
    // A guess must not forbid a guest to who wants no other place.
    if (question.memory == 0 && !question.never_home) question.memory = known->memory;
  }
  deputy_.describe_home(question);
  question.can_be_called = !deputy_.callback_address(config).empty();
  question_ = schedulers_->place(
      std::move(question),
      [this, alive = alive_](Result<wire::Placed> answer) {
        if (!*alive) return;
        if (state_ == State::placing) return placed(std::move(answer));
        if (answer && answer->job != 0) schedulers_->ended(answer->job, 0);  // its caller has just gone
      },
      [this](std::uint32_t before) { queued(before); });
}

// No guest is free: it waits at the scheduler, for as long as the caller said. Who typed --wait sees how many wait before it.
void Job::queued(std::uint32_t before) {
  if (request_.has(HANDOVER_WAIT) && !request_.has(HANDOVER_DIVERTED))
    caller_.waiting(fmt::format("waiting for a guest: {} before it", before));
  const auto seconds = request_.fields.wait_seconds;
  if (std::exchange(waits_, true) || seconds < 0) return;
  patience_.once(static_cast<std::uint64_t>(seconds) * 1000,
                 [this, seconds] { home(fmt::format("no guest was free within {} s", seconds)); });
}

void Job::placed(Result<wire::Placed> answer) {
  patience_.stop();
  question_ = 0;
  waits_ = false;
  if (!answer) return home(answer.error().text());
  place_ = std::move(*answer);
  const auto verdict = static_cast<wire::Verdict>(place_.verdict);
  if (verdict == wire::Verdict::refused) return never_home_ ? fail(place_.reason) : home(place_.reason);
  if (verdict != wire::Verdict::guest) return home(place_.reason);
  if (request_.has(HANDOVER_DRY_RUN)) {
    schedulers_->ended(place_.job, 0);
    caller_.placed(place_.guest + ": " + place_.reason);
    return over();
  }
  open_guest();
}

void Job::open_guest() {
  state_ = State::dialling;
  guest_ = deputy_.guest(place_, *schedulers_, grace_ms_);
  guest_->when_open([this, alive = alive_](Status open) {
    if (!*alive || state_ != State::dialling) return;  // its caller has just gone
    if (!descriptors_left(job_needs)) return home("the deputy is " + no_descriptors());
    if (open) return start();
    home(place_.guest + ": " + open.error().text());
  });
}

// ------------------------------------------------------------------------------------------------------- run

wire::Start Job::start_message() {
  wire::Start start;
  start.job = place_.job;
  start.ticket = place_.ticket;
  start.path = request_.path;
  start.cwd = request_.cwd;
  start.uid = ::geteuid();
  start.gid = ::getegid();
  start.groups = own_groups();
  start.umask = request_.fields.umask_;
  start.nice = request_.fields.nice_;
  for (const auto& limit : request_.fields.limits) start.limits.push_back({limit.soft, limit.hard});
  start.blocked = request_.fields.blocked;
  start.ignored = request_.fields.ignored;
  start.descriptors = descriptors_;
  start.group_leader = request_.has(HANDOVER_GROUP_LEADER);
  start.terminal = to_wire(request_.fields.modes);
  start.window = to_wire(request_.fields.window);
  start.background = background_;
  if (start.path.starts_with('/')) start.lent = guest_->files().lend(place_.job, start.path, {.uid = start.uid, .gid = start.gid, .job = start.job});
  return start;
}

void Job::send_strings(const std::string& strings, std::uint8_t environment) {
  for (std::size_t at = 0; at < strings.size(); at += wire::max_body)
    guest_->session().post(wire::SpecPart{place_.job, environment},
                           std::string_view(strings).substr(at, wire::max_body), Session::Lane::bulk);
}

void Job::start() {
  state_ = State::starting;
  early_ends_.clear();
  served_before_ = guest_->files().bytes_read();
  stored_before_ = guest_->files().bytes_written();
  guest_->attach(place_.job, grace_ms_, events());
  guest_->validate();
  guest_->files().begin(place_.job);
  deputy_.effects().begin(place_.job, {.bytes = undo_bytes_}, guest_->files().session());
  files_ = PassedFiles(request_.descriptors, descriptors_);
  files_.offer(guest_->files());
  send_strings(request_.arguments, 0);
  send_strings(request_.environment, 1);
  foresee([this] { run(); });
}

void Job::run() {
  guest_->session().call(
      start_message(), {},
      [this, alive = alive_](Result<wire::Started> answer, std::string_view) {
        if (*alive && state_ == State::starting) started(answer);
      },
      Session::Lane::bulk);
}

// What it will ask for; of a command that was never run, what its program needs to start.
void Job::foresee(std::function<void()> then) {
  const auto known = record_->profile();
  if (known || guest_->files().knows(request_.path)) {
    if (known) guest_->files().foresee(*known);
    return then();
  }
  auto needs = std::make_shared<Profile>();
  loop_.queue_work([needs, path = request_.path, environment = request_.environment] { *needs = needs_of(path, environment); },
                   [this, alive = alive_, needs, on = place_.job, then = std::move(then)] {
                     if (!*alive || state_ != State::starting || place_.job != on) return;
                     guest_->files().foresee(*needs);
                     then();
                   });
}

// The stream that the job's fd 2 is; Data::terminal: it is none.
std::uint8_t Job::stderr_stream() const {
  for (const auto& each : descriptors_) {
    if (each.fd != 2) continue;
    if (each.kind == static_cast<std::uint8_t>(wire::DescriptorKind::output)) return 2;
    if (each.kind == static_cast<std::uint8_t>(wire::DescriptorKind::same_as))
      return static_cast<std::uint8_t>(each.of);
  }
  return wire::Data::terminal;
}

// ssirun keeps a copy for its own lines, but not longer than the job that lives on: who reads it waits for its end.
void Job::stderr_closed() {
  if (request_.has(HANDOVER_VERBOSE)) return;
  stderr_closed_ = true;
  patience_.once(stderr_ms, [this] { tell_stderr_closed(); });
}

void Job::tell_stderr_closed() {
  if (state_ == State::running && std::exchange(stderr_closed_, false)) caller_.stderr_closed();
}

void Job::stream_ended(std::uint8_t stream) {
  if (needs_.empty()) streams_->closed(stream);
  streams_->end(stream);
  if (stream == stderr_stream()) stderr_closed();
}

GuestLink::JobEvents Job::events() {
  return {[this](std::uint8_t stream, std::string_view bytes) {
            if (streams_ && !streams_->data(stream, bytes))
              return guest_->session().close({std::error_code(EPROTO, std::generic_category()), "more data than the window allows"});
            if (state_ == State::running && streams_ && streams_->differs()) output_differs();
          },
          [this](std::uint8_t stream, std::uint32_t bytes) {
            if (streams_) streams_->credit(stream, bytes);
          },
          [this](std::uint8_t stream) {
            if (streams_)
              stream_ended(stream);
            else if (state_ == State::starting)
              early_ends_.insert(stream);
          },
          [this](const wire::Exited& how) { exited(how); },
          [this](const wire::Stopped& how) { stopped(how); },
          [this](const wire::Modes& modes) { caller_.modes(to_handover(modes)); },
          [this](const wire::Consumed& now) {
            if (streams_) streams_->consumed(now.stream, now.bytes);
          },
          [this](const std::string& reason) { needs_home(reason); },
          [this](const std::string& line) { remark(line); },
          [this] { gone(); },
          [this](std::uint64_t ms) { broken_ms_ += ms; },
          [this](const Error& why) { lost(why); }};
}

void Job::started(const Result<wire::Started>& answer) {
  // Not an answer of the guest's: the link is gone, or the job's first process died before it could say anything.
  if (!answer &&
      (answer.error().code == std::errc::not_connected || answer.error().code == std::errc::no_child_process))
    return lost(answer.error());
  if (!answer) return home(place_.guest + " could not start it: " + answer.error().code.message());
  guest_->files().started(place_.job);
  state_ = State::running;
  log::info("job={} guest={} started: {}", place_.job, place_.guest, request_.command_line());
  caller_.started(place_.guest);
  record_->began_in(place_);
  streams_ = std::make_unique<JobStreams>(loop_, guest_->session(), place_.job,
                                          [this] { guest_->files().tell_news(); });
  kept_.descriptors = std::move(request_.descriptors);
  kept_.channel = std::move(request_.channel);
  streams_->connect(std::exchange(kept_, {}), descriptors_);
  for (const auto stream : std::exchange(early_ends_, {})) stream_ended(stream);
  watch_stops();
  for (const auto& early : std::exchange(early_signals_, {})) signal(early);
  if (!needs_.empty()) needs_home(std::exchange(needs_, {}));
}

void Job::signal(const handover_signal& got) {
  if (is_between_runs() && ends_by(got.number)) return end_by(got.number);
  if (state_ != State::running) return early_signals_.push_back(got);
  if (got.number == SIGCONT) caller_stopped_ = false, told_stop_at_.reset();
  guest_->files().tell_news();
  guest_->session().post(wire::Signal{place_.job, got.number, static_cast<std::uint8_t>(got.to)});
}

void Job::watch_stops() {
  const auto pid = caller_.pid();
  if (!pid) return;
  stop_watch_ = std::make_unique<StopWatch>(loop_, *pid, [this](bool group) {
    if (state_ != State::running) return;
    const auto told = std::exchange(told_stop_at_, std::nullopt);
    if (told && uv_now(loop_.uv()) - *told < stops_within_ms) {
      if (!job_stopped_) ::kill(*caller_.pid(), SIGCONT);  // it went on before the caller had stopped
      return;
    }
    caller_stopped_ = true;
    signal({SIGSTOP, static_cast<std::uint32_t>(group ? HANDOVER_TO_GROUP : HANDOVER_TO_LEADER)});
  });
  stop_watch_->witness(witness_);
}

// What waits for ssirun sees it stop and go on as the job does.
void Job::stopped(const wire::Stopped& how) {
  if (state_ != State::running) return;
  stopping_.stop();
  job_stopped_ = how.number != SIGCONT;
  if (!job_stopped_) return caller_goes_on();
  if (caller_stopped_) return;  // our own doing: it is stopped already
  // After a link was broken, word of both may come at once: who is about to stop would not see that he need not.
  stopping_.once(stop_ms, [this, number = how.number] {
    told_stop_at_ = uv_now(loop_.uv());
    tell_stderr_closed();  // which one that is stopped would not hear
    caller_.stopped(number);
  });
}

// The job that it stopped for is no more.
void Job::end_stop() {
  stopping_.stop();
  if (std::exchange(job_stopped_, false) && !caller_stopped_) caller_goes_on();
  told_stop_at_.reset();
}

void Job::caller_goes_on() {
  stopping_.stop();
  caller_stopped_ = false;
  caller_.stopped(SIGCONT);
  if (const auto pid = caller_.pid()) ::kill(*pid, SIGCONT);
}

// ---------------------------------------------------------------------------------------------------- settle

void Job::exited(const wire::Exited& how) {
  if (state_ != State::running) return;
  if (!needs_.empty()) return recall();
  if (how.out_of_memory && !std::exchange(out_of_memory_, true) && why_not_again().empty())
    return failed_by_guest(place_.guest + " ran out of memory");
  schedulers_->ended(place_.job, static_cast<double>(how.cpu_us) / 1e6);  // whoever reads its output may take his time
  if (how.unseen && !how.out_of_memory) {
    const auto what = place_.guest + " killed the job's first process";
    if (const auto not_again = why_not_again(); !not_again.empty()) return fail_not_again(what, not_again);
    return failed_by_guest(what);
  }
  state_ = State::settling;
  stopping_.stop();
  exited_ = how;
  record_->asked_for(guest_->files().recorded(place_.job));
  streams_->keep_no_more();
  stop_watch_.reset();
  // Before the caller hears of the end: who reads next finds what the job has left.
  streams_->stop_inputs(how.positions);
  deputy_.inputs().release(*this);
  streams_->flushed([this] { report_exit(); });  // the status goes behind all output
}

void Job::report_exit() {
  streams_->settle(exited_.positions);
  files_.settle(exited_.positions);
  if (const auto* error = streams_->write_error())  // never status 0 with partial output
    return fail(place_.guest + ": the job's output could not be written: " + error->code.message());
  if (!streams_->is_as_recorded(exited_.outputs)) return fail(place_.guest + ": the job's output did not arrive whole");
  if (!again_after_.empty() && !streams_->said_all_again()) return output_differs();
  if (exited_.spoiled_by != 0)
    return fail(place_.guest + ": the job's changes to " + printable(exited_.spoiled) +
                " could not be written: " + std::strerror(exited_.spoiled_by));
  const auto line = request_.has(HANDOVER_VERBOSE) ? summary() : std::string();
  const auto moved = traffic();
  deputy_.log_end(place_, request_.command(), exited_);
  // Only now it is known that it was the guest's fault, and not the job's own.
  for (const auto& guest : failed_it_)
    if (!exited_.out_of_memory) deputy_.set_aside(guest);
  if (exited_.survivors == 0) {
    // First lets go of home's files: who runs umount(8) next finds them free.
    streams_.reset();
    files_ = {};
    guest_->detach(place_.job);
    guest_.reset();
  }
  // And of what was kept to undo its changes.
  deputy_.effects().settle(place_.job, [this, alive = alive_, line, moved] {
    if (*alive && state_ == State::settling) tell_exit(line, moved);
  });
}

void Job::tell_exit(const std::string& line, const Traffic& moved) {
  caller_.exited(exited_.wait_status, terminal_taken(exited_), exited_.typed_ahead, line);
  end_stop();  // it was killed
  record_->exited(exited_, moved.in, moved.out);
  if (exited_.survivors == 0) return over();
  streams_->caller_left();
  state_ = State::surviving;
  if (gone_) gone();
}

// Children that survive their leader keep its streams and home's files, as they would at home.
void Job::gone() {
  gone_ = true;
  if (state_ == State::surviving) streams_->flushed([this] { over(); });
}

Job::Traffic Job::traffic() const {
  return {guest_->files().bytes_read() - served_before_ + streams_->bytes_in(),
          guest_->files().bytes_written() - stored_before_ + streams_->bytes_out()};
}

std::string Job::summary() const {
  const auto seconds = static_cast<double>(uv_now(loop_.uv()) - began_) / 1000;
  const auto [in, out] = traffic();
  const auto broken =
      broken_ms_ == 0 ? "" : fmt::format(", its link was broken for {:.1f} s", static_cast<double>(broken_ms_) / 1000);
  const auto again = again_after_.empty() ? "" : ", run again: " + again_after_;
  const auto files = fmt::format(", files: {} round trips, {:.3f} s waited, {} found in the guest", exited_.asked,
                                 static_cast<double>(exited_.waited_us) / 1e6, exited_.known);
  return fmt::format("{}: {}; {:.2f} s, {} bytes in, {} bytes out{}{}{}", place_.guest, place_.reason, seconds, in,
                     out, files, broken, again);
}

}  // namespace ssi
