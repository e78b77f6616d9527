// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_input.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>

namespace ssi {
namespace {

constexpr std::uint64_t longest_wait_ms = 20;
constexpr std::uint64_t report_every = 64 << 10;  // bytes read, while there is more to write
constexpr int large_pipe = 1 << 20;

}  // namespace

void JobInput::let_us_read(const Fd& pipe) {
  ::fchmod(pipe.get(), 0604);
}

JobInput::JobInput(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream, StreamFd pipe)
    : session_(session),
      job_(job),
      stream_(stream),
      sink_(loop, session, job, stream, std::move(pipe)),
      again_(loop) {
  sink_.watch([this] { written(); }, [this] { broken(); });
}

// FIONREAD works at either end of a pipe.
std::uint64_t JobInput::taken() const {
  const int fd = unread_ ? unread_.get() : sink_.fd();
  if (fd < 0) return told_;
  int left = 0;
  ::ioctl(fd, FIONREAD, &left);
  return sink_.bytes() - static_cast<std::uint64_t>(std::max(left, 0));
}

void JobInput::written() {
  if (sink_.queued() > 0) {
    enlarge();
    if (taken() - told_ >= report_every) report();
    return;
  }
  wait_ms_ = 1;
  report();
  if (ending_) finish();
}

// Home must know before it hears that nobody reads.
void JobInput::broken() {
  report();
  again_.stop();
}

void JobInput::end() {
  ending_ = true;
  if (sink_.queued() == 0) finish();
}

// The job sees the end of file once our write end is closed, by which its bytes can be counted no more. Can the pipe not
// be opened again, the end waits until the job has read all.
void JobInput::finish() {
  if (sink_.ended()) return;
  if (taken() < sink_.bytes()) {
    const auto path = "/proc/self/fd/" + std::to_string(sink_.fd());
    unread_.reset(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!unread_) return report();
  }
  report();
  sink_.end();
}

void JobInput::report() {
  const auto now = taken();
  if (now != told_) {
    session_.post(wire::Consumed{job_, stream_, now});
    told_ = now;
    wait_ms_ = 1;
  }
  if (unread_ && now < sink_.bytes())
    return again_.stop();  // there is nothing more to fetch: the job's end will tell
  if (now < sink_.bytes()) {
    again_.once(wait_ms_, [this] { report(); });
    wait_ms_ = std::min(2 * wait_ms_, longest_wait_ms);
    return;
  }
  again_.stop();
  unread_.reset();
  if (ending_ && sink_.queued() == 0) sink_.end();
}

// Else the time that it takes to tell home bounds how much passes.
void JobInput::enlarge() {
  if (!std::exchange(enlarged_, true)) ::fcntl(sink_.fd(), F_SETPIPE_SZ, large_pipe);
}

}  // namespace ssi
