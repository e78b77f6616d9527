// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/guest_job.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "common/fd_passing.h"

namespace ssi {
namespace {

// What still comes after ^C or ^S: people wait for it.
constexpr std::uint32_t terminal_window = 64 << 10;

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// A job that ends closes its streams, and only then is it known that it has ended.
constexpr std::uint64_t end_ms = 50;

// Or its last command was, as shells say it.
bool was_killed(int wait_status) {
  return WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) == SIGKILL
                                  : WEXITSTATUS(wait_status) == 128 + SIGKILL;
}

void copy_name(char (&to)[65], const std::string& from) {
  std::memcpy(to, from.data(), std::min(from.size(), sizeof to - 1));
}

Result<inside::ToStem> packet_for(const wire::Start& start, const std::string& hostname,
                                  const std::string& domain) {
  inside::ToStem packet{};
  packet.kind = inside::ToStem::start_job;
  auto& job = packet.start;
  if (start.groups.size() > inside::max_groups) return os_error("start a job", EINVAL);
  job.uid = start.uid;
  job.gid = start.gid;
  job.group_count = static_cast<std::uint32_t>(start.groups.size());
  std::copy(start.groups.begin(), start.groups.end(), job.groups);
  copy_name(job.hostname, hostname);
  copy_name(job.domain, domain);
  return packet;
}

}  // namespace

GuestJob::GuestJob(Loop& loop, Session& session, std::uint64_t id, Fd control, Events events)
    : loop_(loop),
      session_(session),
      id_(id),
      control_(std::move(control)),
      events_(std::move(events)),
      poll_(loop, control_.get(), [this](int) { on_control(); }) {
  exited_.job = id;
  poll_.want(UV_READABLE);
}

Result<std::unique_ptr<GuestJob>> GuestJob::start(Loop& loop, Session& session, StemChannel& stem,
                                                  const JobSpec& spec, const std::string& hostname,
                                                  const std::string& domain, Events events) {
  auto packet = packet_for(spec.start, hostname, domain);
  if (!packet) return tl::make_unexpected(packet.error());
  auto memory = spec.to_memory();
  if (!memory) return tl::make_unexpected(memory.error());
  int control[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) return os_error("socketpair");
  Fd ours(control[0]), theirs(control[1]);
  const int on = 1;
  if (::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return os_error("SO_PASSCRED");
  std::unique_ptr<GuestJob> job(
      new GuestJob(loop, session, spec.start.job, std::move(ours), std::move(events)));

  std::vector<Fd> passed;
  passed.push_back(std::move(theirs));
  passed.push_back(std::move(*memory));
  job->background_ = spec.start.background != 0;
  for (const auto& descriptor : spec.start.descriptors) {
    auto end = job->make_stream(descriptor);
    if (!end) return tl::make_unexpected(end.error());
    if (*end) passed.push_back(std::move(*end));
  }
  if (passed.size() > max_passed) return os_error("start a job", E2BIG);
  stem.send(*packet, std::move(passed));
  return job;
}

// The job's end of a pipe; none for what the job opens itself.
Result<Fd> GuestJob::make_stream(const wire::Descriptor& descriptor) {
  const auto kind = static_cast<wire::DescriptorKind>(descriptor.kind);
  const auto stream = static_cast<std::uint8_t>(descriptor.fd);
  if (kind != wire::DescriptorKind::input && kind != wire::DescriptorKind::output) return Fd();
  if (descriptor.fd >= wire::Data::terminal) return os_error("make a stream", EINVAL);
  auto pipe = make_pipe();
  if (!pipe) return tl::make_unexpected(pipe.error());
  const bool input = kind == wire::DescriptorKind::input;
  if (input) JobInput::let_us_read(pipe->read);
  auto ours = StreamFd::own(std::move(input ? pipe->write : pipe->read));
  if (!ours) return tl::make_unexpected(ours.error());
  if (input) {
    inputs_[stream] = std::make_unique<JobInput>(loop_, session_, id_, stream, std::move(*ours));
  } else {
    outputs_[stream] = std::make_unique<Source>(loop_, session_, id_, stream, std::move(*ours));
    outputs_[stream]->linger(end_ms);
    outputs_[stream]->before_sending(events_.before_output);
  }
  return std::move(input ? pipe->read : pipe->write);
}

void GuestJob::take_terminal(Fd master) {
  auto read = StreamFd::own(master.duplicate());
  auto write = StreamFd::own(master.duplicate());
  if (!read || !write) return;
  constexpr auto stream = wire::Data::terminal;
  terminal_ = std::make_unique<GuestTerminal>(
      loop_, std::move(master), background_, [this](const wire::Modes& modes) {
        session_.post(wire::ModesChanged{id_, modes}, {}, Session::Lane::bulk);
      });
  typed_ = std::make_unique<Sink>(loop_, session_, id_, stream, std::move(*write));
  outputs_[stream] = std::make_unique<Source>(loop_, session_, id_, stream, std::move(*read));
  outputs_[stream]->narrow(terminal_window);
  outputs_[stream]->linger(end_ms);
  outputs_[stream]->before_sending([this] {
    events_.before_output();
    if (terminal_) terminal_->look();
  });
}

void GuestJob::started() {
  started_ = true;
  events_.started();
  oom_kills_ = OomKills(init_);
  if (terminal_) terminal_->begin();
  // Not before: home connects its streams when it hears of the start.
  for (const auto& [stream, output] : outputs_) output->begin();
}

// Behind what was shown before: the echo of the key that stopped it.
void GuestJob::stopped(std::int32_t number) {
  const auto tell = [this](std::int32_t how) {
    say_ends();  // a caller that stops as well would not hear of them
    events_.before_output();
    session_.post(wire::Stopped{id_, how}, {}, Session::Lane::bulk);
  };
  const auto shown = outputs_.find(wire::Data::terminal);
  if (number == SIGCONT && std::exchange(stop_, 0) != 0)
    return;  // it goes on before anybody heard that it was stopped
  if (shown == outputs_.end() || number == SIGCONT) return tell(number);
  stop_ = number;
  shown->second->drained([this, tell] {
    if (stop_ != 0) tell(std::exchange(stop_, 0));
  });
}

void GuestJob::on_control() {
  inside::FromInit packet;
  auto got = receive_with_fds(control_.get(), {reinterpret_cast<char*>(&packet), sizeof packet});
  if (!got && got.error().code == std::errc::resource_unavailable_try_again) return;
  if (!got || !packet.is_whole(got->bytes)) {
    poll_.want(0);
    if (!started_) return events_.failed(ECHILD);  // its init died before it could say anything
    inside::FromInit killed{};
    killed.wait_status = SIGKILL;
    exited_.unseen = !ended_;
    if (!ended_) leader_ended(killed);
    return when_quiet();
  }
  init_ = got->sender;
  if (packet.kind == inside::FromInit::started) {
    started();
  } else if (packet.kind == inside::FromInit::terminal) {
    if (got->fds.size() == 1) take_terminal(std::move(got->fds.front()));
  } else if (packet.kind == inside::FromInit::quiet) {
    if (typed_) exited_.positions.push_back({wire::Data::terminal, typed_->bytes()});
    typed_.reset();
    (void)send_packet(control_.get(), inside::SendSignal{inside::SendSignal::quiet, 0});
  } else if (packet.kind == inside::FromInit::position) {
    exited_.positions.push_back({packet.fd, packet.offset});
  } else if (packet.kind == inside::FromInit::stopped) {
    stopped(packet.wait_status);
  } else if (packet.kind == inside::FromInit::failed) {
    poll_.want(0);
    events_.failed(packet.error);
  } else if (packet.kind == inside::FromInit::used) {
    events_.used(packet.cpu_us, packet.max_rss);
  } else if (!ended_) {
    leader_ended(packet);
  }
}

// No process is left, but what they wrote may still be on its way.
void GuestJob::when_quiet() {
  for (const auto& [stream, output] : outputs_)
    if (!output->ended())
      return output->when_ended([this, alive = alive_] {
        if (*alive) when_quiet();
      });
  events_.gone();
}

// How far the job has read its inputs.
std::vector<wire::Position> GuestJob::positions() const {
  std::vector<wire::Position> all;
  for (const auto& [stream, input] : inputs_) all.push_back({stream, input->taken()});
  return all;
}

// What the leader wrote lies in the pipes; the status goes behind it.
void GuestJob::leader_ended(const inside::FromInit& packet) {
  ended_ = true;
  exited_.wait_status = packet.wait_status;
  exited_.cpu_us = packet.cpu_us;
  exited_.max_rss = packet.max_rss;
  exited_.survivors = packet.survivors;
  exited_.out_of_memory = was_killed(packet.wait_status) && oom_kills_.any();
  for (const auto& position : positions()) exited_.positions.push_back(position);
  exited_.typed_ahead.assign(packet.typed_ahead,
                             std::min<std::size_t>(packet.typed, sizeof packet.typed_ahead));
  draining_ = 1;
  for (const auto& [stream, output] : outputs_) {
    ++draining_;
    output->drained([this, alive = alive_] {
      if (*alive && --draining_ == 0) report_exit();
    });
  }
  if (--draining_ == 0) report_exit();
}

void GuestJob::report_exit() {
  if (std::exchange(reporting_, true)) return;
  for (const auto& [stream, output] : outputs_) output->linger_on();  // home may take a while to do what the job has done
  events_.before_exit(exited_, [this, alive = alive_] {
    if (*alive) post_exit();
  });
}

void GuestJob::post_exit() {
  reported_ = true;
  if (!exited_.survivors)
    for (const auto& [stream, output] : outputs_)
      exited_.outputs.push_back({stream, output->bytes(), output->sum().digest()});
  session_.post(exited_, {}, Session::Lane::bulk);
  for (const auto& [stream, output] : outputs_) output->linger(0);
  say_ends();
}

// Of the streams that have ended by now.
void GuestJob::say_ends() {
  const auto alive = alive_;
  for (const auto& [stream, output] : outputs_) {
    output->end_now();
    if (!*alive) return;  // that was the last of it
  }
}

bool GuestJob::spoiled(const std::string& path, int error) {
  if (reported_) return false;
  if (exited_.spoiled_by == 0) {
    exited_.spoiled = path;
    exited_.spoiled_by = error;
  }
  return true;
}

bool GuestJob::data(std::uint8_t stream, std::string_view bytes) {
  if (stream == wire::Data::terminal) return !typed_ || typed_->push(bytes);
  const auto input = inputs_.find(stream);
  return input == inputs_.end() || input->second->push(bytes);
}

void GuestJob::credit(std::uint8_t stream, std::uint32_t bytes) {
  if (const auto output = outputs_.find(stream); output != outputs_.end()) output->second->credit(bytes);
}

void GuestJob::end(std::uint8_t stream) {
  if (stream == wire::Data::terminal && typed_) typed_->end();
  if (const auto input = inputs_.find(stream); input != inputs_.end()) input->second->end();
  if (const auto output = outputs_.find(stream); output != outputs_.end()) output->second->stop();
}

void GuestJob::signal(const wire::Signal& signal) {
  if (signal.number <= 0 || signal.number >= NSIG) return;
  const bool pressed = signal.to == wire::Signal::foreground && terminal_;
  if (pressed && signal.number != SIGHUP) return terminal_->press(signal.number);
  (void)send_packet(control_.get(), inside::SendSignal{signal.number, signal.to});
  if (!pressed) return;
  // The terminal is gone: who reads it now sees its end.
  typed_.reset();
  outputs_.at(wire::Data::terminal)->stop();
  terminal_.reset();
}

void GuestJob::foreground(bool yes) {
  (void)send_packet(control_.get(), inside::SendSignal{0, static_cast<std::uint8_t>(yes)});
}

void GuestJob::resize(const wire::WindowSize& window) {
  if (terminal_) terminal_->resize(window);
}

}  // namespace ssi
