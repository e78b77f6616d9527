// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/guest_job.h"

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "common/fd_passing.h"

namespace ssi {
namespace {

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

void copy_name(char (&to)[65], const std::string& from) {
  std::memcpy(to, from.data(), std::min(from.size(), sizeof to - 1));
}

inside::Stdio inside_kind(std::uint8_t kind) {
  switch (static_cast<wire::StdioKind>(kind)) {
    case wire::StdioKind::pipe:
    case wire::StdioKind::file:
      return inside::Stdio::passed;
    case wire::StdioKind::same_as_stdout:
      return inside::Stdio::same_as_stdout;
    case wire::StdioKind::null:
      return inside::Stdio::null;
    case wire::StdioKind::closed:
      break;
  }
  return inside::Stdio::closed;
}

Result<inside::ToStem> packet_for(const wire::Start& start, const std::string& hostname,
                                  const std::string& domain) {
  inside::ToStem packet{};
  packet.kind = inside::ToStem::start_job;
  auto& job = packet.start;
  if (start.groups.size() > inside::max_groups || start.stdio.size() != 3)
    return os_error("start a job", EINVAL);
  job.uid = start.uid;
  job.gid = start.gid;
  job.group_count = static_cast<std::uint32_t>(start.groups.size());
  std::copy(start.groups.begin(), start.groups.end(), job.groups);
  for (std::size_t i = 0; i < 3; ++i) job.stdio[i] = inside_kind(start.stdio[i]);
  copy_name(job.hostname, hostname);
  copy_name(job.domain, domain);
  return packet;
}

}  // namespace

GuestJob::GuestJob(Loop& loop, Session& session, std::uint64_t id, Fd control, Events events)
    : session_(session),
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
  std::unique_ptr<GuestJob> job(
      new GuestJob(loop, session, spec.start.job, std::move(ours), std::move(events)));

  std::vector<Fd> passed;
  passed.push_back(std::move(theirs));
  passed.push_back(std::move(*memory));
  for (std::uint8_t stream = 0; stream < 3; ++stream) {
    if (packet->start.stdio[stream] != inside::Stdio::passed) continue;
    auto pipe = make_pipe();
    if (!pipe) return tl::make_unexpected(pipe.error());
    if (stream == 0) {
      auto to = StreamFd::own(std::move(pipe->write));
      if (!to) return tl::make_unexpected(to.error());
      job->stdin_ = std::make_unique<Sink>(loop, session, job->id_, stream, std::move(*to));
      if (spec.start.stdio[0] == static_cast<std::uint8_t>(wire::StdioKind::file))
        job->stdin_rest_ = pipe->read.duplicate();
      passed.push_back(std::move(pipe->read));
    } else {
      auto from = StreamFd::own(std::move(pipe->read));
      if (!from) return tl::make_unexpected(from.error());
      job->output_[stream - 1] = std::make_unique<Source>(loop, session, job->id_, stream, std::move(*from));
      passed.push_back(std::move(pipe->write));
    }
  }
  stem.send(*packet, std::move(passed));
  return job;
}

void GuestJob::on_control() {
  inside::FromInit packet;
  const auto got = ::recv(control_.get(), &packet, sizeof packet, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got != sizeof packet) {
    poll_.want(0);
    if (!started_) return events_.failed(ECHILD);  // its init died before it could say anything
    if (!ended_) leader_ended({inside::FromInit::exited, 0, SIGKILL, 0, 0, 0});
    return when_quiet();
  }
  if (packet.kind == inside::FromInit::started) {
    started_ = true;
    events_.started();
    // Not before: home connects its streams when it hears of the start.
    for (const auto& output : output_)
      if (output) output->begin();
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
  for (const auto& output : output_)
    if (output && !output->ended())
      return output->when_ended([this, alive = alive_] {
        if (*alive) when_quiet();
      });
  events_.gone();
}

std::uint64_t GuestJob::stdin_taken() const {
  int left = 0;
  if (!stdin_) return 0;
  if (stdin_rest_) ::ioctl(stdin_rest_.get(), FIONREAD, &left);
  return stdin_->bytes() - static_cast<std::uint64_t>(std::max(left, 0));
}

// What the leader wrote lies in the pipes; the status goes behind it.
void GuestJob::leader_ended(const inside::FromInit& packet) {
  ended_ = true;
  exited_.wait_status = packet.wait_status;
  exited_.cpu_us = packet.cpu_us;
  exited_.max_rss = packet.max_rss;
  exited_.survivors = packet.survivors;
  exited_.stdin_taken = stdin_taken();
  draining_ = 1;
  for (const auto& output : output_) {
    if (!output) continue;
    ++draining_;
    output->drained([this, alive = alive_] {
      if (*alive && --draining_ == 0) report_exit();
    });
  }
  if (--draining_ == 0) report_exit();
}

void GuestJob::report_exit() {
  if (std::exchange(reported_, true)) return;
  session_.post(exited_, {}, Session::Lane::bulk);
}

bool GuestJob::data(std::uint8_t stream, std::string_view bytes) {
  if (stream != 0) return false;
  return !stdin_ || stdin_->push(bytes);
}

void GuestJob::credit(std::uint8_t stream, std::uint32_t bytes) {
  if ((stream == 1 || stream == 2) && output_[stream - 1]) output_[stream - 1]->credit(bytes);
}

void GuestJob::end(std::uint8_t stream) {
  if (stream == 0 && stdin_) stdin_->end();
  if ((stream == 1 || stream == 2) && output_[stream - 1]) output_[stream - 1]->stop();
}

void GuestJob::signal(std::int32_t number) {
  if (number > 0 && number < NSIG) (void)send_packet(control_.get(), inside::SendSignal{number});
}

}  // namespace ssi
