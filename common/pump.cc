// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/pump.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace ssi {
namespace {

bool would_block(const Error& error) {
  return error.code == std::errc::resource_unavailable_try_again;
}

constexpr std::uint32_t credit_batch = 64 << 10;  // bytes written before credit is given while more is queued

}  // namespace

Source::Source(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream,
               std::unique_ptr<Readable> from)
    : loop_(loop), session_(session), job_(job), stream_(stream), from_(std::move(from)) {
  if (from_->pollable()) poll_ = std::make_unique<Poll>(loop_, from_->fd(), [this](int) { pump(); });
}

void Source::narrow(std::uint32_t window) {
  window_ = credit_ = window;
}

void Source::send_first(std::string bytes) {
  first_ = std::move(bytes);
}

void Source::begin() {
  begun_ = true;
  update();
}

void Source::update() {
  if (ended() || !begun_ || lingers_) return;
  if (poll_ && first_done_ == first_.size())
    poll_->want(credit_ > 0 ? UV_READABLE : 0);
  else if (credit_ > 0)
    loop_.defer([this, alive = alive_] {
      if (*alive) pump();
    });
}

// One frame a call: the loop stays responsive, and the poll calls again.
void Source::pump() {
  if (ended() || lingers_ || credit_ == 0) return;
  static thread_local std::array<char, wire::max_body> buffer;
  const bool is_first = first_done_ < first_.size();
  const auto got = read({buffer.data(), std::min<std::size_t>(buffer.size(), credit_)});
  if (!got && would_block(got.error())) return tell_drained();
  if (!got || *got == 0)
    return finish();  // an error on a stream (EIO of a hung-up terminal) reads as its end
  credit_ -= *got;
  sum_.add({buffer.data(), *got});
  if (record_ && !is_first) record_({buffer.data(), *got});
  if (before_sending_) before_sending_();
  session_.post(wire::Data{job_, stream_}, {buffer.data(), *got}, Session::Lane::bulk);
  update();
  chase();
}

Result<std::size_t> Source::read(std::span<char> into) {
  if (first_done_ == first_.size()) return from_->read(into);
  const auto size = first_.copy(into.data(), into.size(), first_done_);
  first_done_ += size;
  return size;
}

// A poll tells only when there is something to read; that there is nothing more must be asked.
void Source::chase() {
  if (!drained_ || ended() || lingers_ || credit_ == 0) return;
  loop_.defer([this, alive = alive_] {
    if (*alive && drained_) pump();
  });
}

void Source::finish() {
  if (linger_ms_ == 0) return say_end();
  if (poll_) poll_->want(0);
  lingers_ = std::make_unique<Timer>(loop_);
  // Twice: a process that was stopped hears first that time is up, and then what came meanwhile.
  lingers_->once(linger_ms_, [this] { lingers_->once(1, [this] { say_end(); }); });
  tell_drained();
}

void Source::linger_on() {
  linger_ms_ = std::numeric_limits<std::uint32_t>::max();
  if (lingers_) lingers_->stop();
}

void Source::end_now() {
  if (lingers_) say_end();
}

void Source::say_end() {
  lingers_.reset();
  if (before_sending_) before_sending_();
  session_.post(wire::End{job_, stream_}, {}, Session::Lane::bulk);
  if (!from_->peeks()) return stop();
  // What was sent still lies there, and belongs to whoever reads on when the job has ended.
  poll_.reset();
  at_end_ = true;
  say_ended();
}

void Source::stop() {
  if (from_) taken_at_end_ = taken();
  lingers_.reset();
  poll_.reset();
  from_.reset();
  say_ended();
}

void Source::taken(std::uint64_t bytes) {
  taken_ = std::max(taken_, bytes);
  if (from_ && bytes > first_.size()) from_->taken(bytes - first_.size());
}

std::uint64_t Source::taken() const {
  if (!from_) return taken_at_end_;
  return std::max<std::uint64_t>(first_.size(), from_->peeks() ? std::min(taken_, sum_.bytes()) : sum_.bytes());
}

void Source::say_ended() {
  const auto alive = alive_;
  tell_drained();
  if (!*alive) return;
  if (const auto f = std::exchange(when_ended_, nullptr)) f();
}

void Source::when_ended(std::function<void()> f) {
  if (ended()) return f();
  when_ended_ = std::move(f);
}

void Source::credit(std::uint32_t bytes) {
  credit_ = std::min<std::uint64_t>(credit_ + bytes, window_);
  update();
  chase();
}

void Source::tell_drained() {
  if (const auto f = std::exchange(drained_, nullptr)) f();
}

void Source::drained(std::function<void()> f) {
  drained_ = std::move(f);
  if (ended() || lingers_) return tell_drained();
  chase();
}

Sink::Sink(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream, StreamFd to)
    : loop_(loop), session_(session), job_(job), stream_(stream), to_(std::move(to)) {
  if (to_.pollable()) poll_ = std::make_unique<Poll>(loop_, to_.fd(), [this](int) { look(); });
}

void Sink::watch(std::function<void()> written, std::function<void()> broken) {
  when_written_ = std::move(written);
  when_broken_ = std::move(broken);
  settle();
}

void Sink::look() {
  if (!queue_.empty()) return drain();
  pollfd closing{to_.fd(), 0, 0};
  if (::poll(&closing, 1, 0) > 0 && (closing.revents & POLLERR))
    broken({std::make_error_code(std::errc::broken_pipe), "write to a standard stream"});
}

bool Sink::push(std::string_view bytes) {
  if (discarding_ || !to_ || differs_) return true;
  if (const auto known = std::min<std::uint64_t>(still_to_skip(), bytes.size()); known > 0) {
    sum_.add(bytes.substr(0, known));
    seen_ += known;
    owed_ += static_cast<std::uint32_t>(known);
    bytes.remove_prefix(known);
    if (still_to_skip() == 0) differs_ = sum_.digest() != skip_.digest();
    if (bytes.empty() || differs_) return drain(), true;
  }
  seen_ += bytes.size();
  if (queued_ + bytes.size() > wire::Data::window) return false;
  queue_.emplace_back(bytes);
  queued_ += bytes.size();
  drain();
  return true;
}

void Sink::skip(const StreamSum& written) {
  skip_ = written;
}

void Sink::end() {
  ending_ = true;
  if (queue_.empty()) settle();
}

void Sink::flushed(std::function<void()> f) {
  flushed_ = std::move(f);
  if (queue_.empty()) settle();
}

void Sink::drain() {
  while (!queue_.empty()) {
    const auto& front = queue_.front();
    const auto done = to_.write({front.data() + front_done_, front.size() - front_done_});
    if (!done && would_block(done.error())) break;
    if (!done) return broken(done.error());
    sum_.add({front.data() + front_done_, *done});
    front_done_ += *done;
    queued_ -= *done;
    owed_ += static_cast<std::uint32_t>(*done);
    if (front_done_ == front.size()) {
      queue_.pop_front();
      front_done_ = 0;
    }
  }
  if (owed_ > 0 && (queue_.empty() || owed_ >= credit_batch))
    session_.post(wire::Credit{job_, stream_, std::exchange(owed_, 0)});
  if (when_written_) when_written_();
  if (queue_.empty()) return settle();
  if (poll_) poll_->want(UV_WRITABLE);
}

void Sink::broken(const Error& error) {
  if (error.code != std::errc::broken_pipe) error_ = std::make_unique<Error>(error);
  discarding_ = true;
  queue_.clear();
  front_done_ = queued_ = 0;
  if (when_broken_) when_broken_();
  session_.post(wire::End{job_, stream_});
  settle();
}

void Sink::settle() {
  // A pipe that nobody reads shows as an error whatever is asked for, if only something is.
  if (poll_) poll_->want(when_broken_ ? UV_DISCONNECT : 0);
  if (ending_ || discarding_) {
    poll_.reset();
    to_.close();
  }
  if (const auto f = std::exchange(flushed_, nullptr)) f();
}

}  // namespace ssi
