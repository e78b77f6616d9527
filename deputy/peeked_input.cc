// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/peeked_input.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <vector>

namespace ssi {
namespace {

constexpr int large_pipe = 1 << 20;

// Where tee(2) puts what it finds, and where it goes when nobody wants it. Empty between two calls.
struct Scratch {
  Fd read, write, null;
  void open() {
    int ends[2];
    null.reset(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    if (!null || ::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
    read.reset(ends[0]);
    write.reset(ends[1]);
    ::fcntl(ends[1], F_SETPIPE_SZ, large_pipe);
  }
};

const Scratch& scratch() {
  static Scratch one;
  if (!one.write) one.open();  // there may have been no descriptors before
  return one;
}

Result<std::size_t> would_block() {
  return os_error("read from a standard stream", EAGAIN);
}

// Throws away the first bytes of a pipe; less when it holds less.
void discard(int pipe, std::size_t bytes) {
  while (bytes > 0) {
    const auto gone = ::splice(pipe, nullptr, scratch().null.get(), nullptr, bytes, SPLICE_F_NONBLOCK);
    if (gone <= 0) return;
    bytes -= static_cast<std::size_t>(gone);
  }
}

void discard_from_socket(int socket, std::size_t bytes) {
  static std::array<char, 64 << 10> nowhere;
  while (bytes > 0) {
    const auto gone = ::recv(socket, nowhere.data(), std::min(bytes, nowhere.size()), MSG_DONTWAIT);
    if (gone <= 0) return;
    bytes -= static_cast<std::size_t>(gone);
  }
}

// Whether no more can come; what has come may still lie there.
bool no_writer(int fd) {
  pollfd state{fd, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

bool is_stream_socket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

}  // namespace

bool PeekedInput::possible(int fd) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return false;
  return S_ISFIFO(status.st_mode) || S_ISREG(status.st_mode) ||
         (S_ISSOCK(status.st_mode) && is_stream_socket(fd));
}

PeekedInput::PeekedInput(Fd fd) : fd_(std::move(fd)) {
  struct stat status;
  if (::fstat(fd_.get(), &status) == 0 && !S_ISREG(status.st_mode))
    kind_ = S_ISFIFO(status.st_mode) ? Kind::pipe : Kind::socket;
  if (kind_ == Kind::file) {
    start_ = ::lseek(fd_.get(), 0, SEEK_CUR);
    return;
  }
  edges_.reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{EPOLLIN | EPOLLRDHUP | EPOLLET, {}};
  ::epoll_ctl(edges_.get(), EPOLL_CTL_ADD, fd_.get(), &event);
  if (kind_ != Kind::pipe) return;
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  ::epoll_ctl(edges_.get(), EPOLL_CTL_ADD, timer_.get(), &event);
}

// A write that fills a pipe which was not empty makes no edge, neither when it begins to wait for room nor when it goes
// on (pipe_write() in the kernel's fs/pipe.c): while untaken bytes lie there, news must be asked for.
void PeekedInput::look_again() {
  constexpr long soonest_us = 250, latest_us = 64'000;
  if (!timer_) return;
  wait_us_ = std::clamp(2 * wait_us_, soonest_us, latest_us);
  const itimerspec when{{}, {0, wait_us_ * 1000}};
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

Result<std::size_t> PeekedInput::read(std::span<char> into) {
  auto got = peek(into);
  if (!got && got.error().code == std::errc::resource_unavailable_try_again) {
    // Looks again once the edge is forgotten: what comes later makes another one.
    epoll_event edge;
    (void)::epoll_wait(edges_.get(), &edge, 1, 0);
    got = peek(into);
  }
  if (got) {
    seen_ += *got;
    wait_us_ = 0;
  } else if (seen_ > taken_) {
    look_again();
  }
  return got;
}

Result<std::size_t> PeekedInput::peek(std::span<char> into) {
  const auto skip = static_cast<std::size_t>(seen_ - taken_);
  if (kind_ == Kind::pipe) return peek_pipe(into, skip);
  if (kind_ == Kind::socket) return peek_socket(into, skip);
  const auto got = ::pread(fd_.get(), into.data(), into.size(), start_ + static_cast<off_t>(seen_));
  if (got < 0) return os_error("read from a standard stream");
  return static_cast<std::size_t>(got);
}

Result<std::size_t> PeekedInput::peek_pipe(std::span<char> into, std::size_t skip) {
  const bool last = no_writer(fd_.get());  // asked first: what was written before a close is there after it
  int held = 0;
  ::ioctl(fd_.get(), FIONREAD, &held);
  if (std::cmp_less_equal(held, skip)) return last ? Result<std::size_t>(0) : would_block();
  enlarge(static_cast<std::size_t>(held));
  const auto& to = scratch();
  const auto copied = ::tee(fd_.get(), to.write.get(), skip + into.size(), SPLICE_F_NONBLOCK);
  if (copied < 0) return os_error("tee of a standard stream");
  const auto found = static_cast<std::size_t>(copied);
  discard(to.read.get(), std::min(found, skip));
  if (found <= skip) return would_block();
  const auto got = ::read(to.read.get(), into.data(), into.size());
  if (got < 0) return os_error("read from a standard stream");
  return static_cast<std::size_t>(got);
}

// SO_PEEK_OFF would be seen by whoever else peeks there; the bytes to be skipped all land in one place.
Result<std::size_t> PeekedInput::peek_socket(std::span<char> into, std::size_t skip) {
  static std::array<char, 64 << 10> nowhere;
  const bool last = no_writer(fd_.get());
  std::vector<iovec> parts;
  for (auto left = skip; left > 0; left -= parts.back().iov_len)
    parts.push_back({nowhere.data(), std::min(left, nowhere.size())});
  parts.push_back({into.data(), into.size()});
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  const auto held = ::recvmsg(fd_.get(), &message, MSG_PEEK | MSG_DONTWAIT);
  if (held < 0 && errno != EAGAIN) return os_error("read from a standard stream");
  const auto found = static_cast<std::size_t>(std::max<ssize_t>(held, 0));
  if (found <= skip) return last ? Result<std::size_t>(0) : would_block();
  return found - skip;
}

void PeekedInput::taken(std::uint64_t bytes) {
  bytes = std::min(bytes, seen_);
  if (bytes <= taken_) return;
  const auto count = static_cast<std::size_t>(bytes - taken_);
  taken_ = bytes;
  if (kind_ == Kind::pipe) {
    discard(fd_.get(), count);
    wait_us_ = 0;
    look_again();
  }
  if (kind_ == Kind::socket) discard_from_socket(fd_.get(), count);
}

// Untaken bytes fill a pipe, and then its writer waits for each word from the guest: so give it more room.
void PeekedInput::enlarge(std::size_t held) {
  constexpr std::size_t much = 32 << 10;
  if (held >= much && !std::exchange(enlarged_, true)) ::fcntl(fd_.get(), F_SETPIPE_SZ, large_pipe);
}

}  // namespace ssi
