// SPDX-License-Identifier: LGPL-2.1-or-later
// A job's standard streams over a session: a Source turns a descriptor's bytes into Data frames, a Sink turns Data
// frames into a descriptor's bytes. At most Data::window bytes of a stream are on the way, so memory is bounded and a
// slow reader slows its writer, however far apart they are.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/loop.h"
#include "common/session.h"
#include "common/stream_fd.h"
#include "common/stream_sum.h"

namespace ssi {

class Source {
 public:
  // Sends what `from` yields as `stream` of `job`, and End at its end, once it is told to begin.
  Source(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream,
         std::unique_ptr<Readable> from);
  Source(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream, StreamFd from)
      : Source(loop, session, job, stream, std::make_unique<StreamFd>(std::move(from))) {}

  void narrow(std::uint32_t window);  // before begin(): fewer bytes on the way than Data::window
  void send_first(std::string bytes);  // before begin(): these precede what `from` yields
  void record(std::function<void(std::string_view)> f) { record_ = std::move(f); }  // called with all that `from` yields
  void begin();
  void credit(std::uint32_t bytes);  // the receiver passed them on
  void taken(std::uint64_t bytes);   // of all that was sent: for a source that only peeks
  void stop();                       // nobody reads any more: closes the descriptor
  void before_sending(std::function<void()> f) {
    before_sending_ = std::move(f);
  }                                          // called before each Data and End
  // End is said only so much after the end, or when end_now() is called. What is to be said behind all Data and before End, and
  // becomes known at the end only, has that time.
  void linger(std::uint64_t ms) { linger_ms_ = ms; }
  void linger_on();  // until end_now(), or another linger() before the end is met
  void end_now();                            // if it is at its end
  void drained(std::function<void()> f);     // calls `f` once all that the descriptor holds now has been sent
  void when_ended(std::function<void()> f);  // calls `f` once End has been sent, or stop() called
  bool ended() const { return !from_ || at_end_; }
  std::uint64_t bytes() const { return sum_.bytes(); }  // sent
  const StreamSum& sum() const { return sum_; }
  std::uint64_t taken() const;  // of them, those that do not lie there any more

 private:
  void pump();
  Result<std::size_t> read(std::span<char> into);
  void finish();
  void say_end();
  void say_ended();
  void update();
  void tell_drained();
  void chase();

  Loop& loop_;
  Session& session_;
  const std::uint64_t job_;
  const std::uint8_t stream_;
  std::unique_ptr<Readable> from_;
  std::unique_ptr<Poll> poll_;
  std::uint64_t window_ = wire::Data::window, credit_ = window_;
  std::string first_;           // to be sent before anything is read
  std::size_t first_done_ = 0;  // of it, bytes
  std::uint64_t taken_ = 0, taken_at_end_ = 0;  // as taken() was told; what it was when stop() was called
  StreamSum sum_;
  std::function<void(std::string_view)> record_;
  bool begun_ = false, at_end_ = false;  // at its end: End has been sent
  std::uint64_t linger_ms_ = 0;
  std::unique_ptr<Timer> lingers_;  // set: at the end, and End is to be sent
  std::function<void()> drained_, when_ended_, before_sending_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~Source() { *alive_ = false; }
};

class Sink {
 public:
  // Writes what push() brings to `to`. When nobody reads it any more, says End to the sender and discards the rest.
  Sink(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream, StreamFd to);
  ~Sink() { *alive_ = false; }

  bool push(std::string_view bytes);  // false: the sender broke the window, which ends the session

  // Before the first push(): so much has been written by somebody who should have said the same. It is compared and not written
  // again; from what differs on nothing is.
  void skip(const StreamSum& written);
  bool differs() const { return differs_; }
  std::uint64_t still_to_skip() const { return skip_.bytes() - std::min(skip_.bytes(), seen_); }
  void end();                         // the descriptor is closed when all is written
  void flushed(
      std::function<void()> f);  // calls `f` once all that was pushed has been written (or discarded)

  // For who counts what is read at the other end of a pipe: `written` is called after each round of writing, `broken`
  // before End is said, with fd() still open. That nobody reads any more is noticed without writing, too.
  void watch(std::function<void()> written, std::function<void()> broken);
  bool ended() const { return !to_; }
  int fd() const { return to_.fd(); }                                           // -1 once ended
  std::uint64_t bytes() const { return sum_.bytes(); }                          // written
  const StreamSum& sum() const { return sum_; }                                 // of these
  bool discards() const { return discarding_; }                                 // nobody reads it any more
  std::size_t queued() const { return queued_; }                                // not yet written
  const Error* write_error() const { return error_ ? error_.get() : nullptr; }  // other than EPIPE

 private:
  void drain();
  void look();
  void broken(const Error& error);
  void settle();

  Loop& loop_;
  Session& session_;
  const std::uint64_t job_;
  const std::uint8_t stream_;
  StreamFd to_;
  std::unique_ptr<Poll> poll_;
  std::deque<std::string> queue_;
  std::size_t front_done_ = 0, queued_ = 0;
  std::uint32_t owed_ = 0;  // written, credit not yet given
  StreamSum sum_, skip_;
  std::uint64_t seen_ = 0;  // bytes that were pushed
  bool ending_ = false, discarding_ = false, differs_ = false;
  std::unique_ptr<Error> error_;
  std::function<void()> flushed_, when_written_, when_broken_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
