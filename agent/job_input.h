// SPDX-License-Identifier: LGPL-2.1-or-later
// The pipe that a job reads one of its inputs from: writes what comes from home, and counts what the job has read of it,
// so that home takes no more than that from where it came.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/fd.h"
#include "common/loop.h"
#include "common/pump.h"
#include "common/session.h"

namespace ssi {

class JobInput {
 public:
  // A pipe whose end of file must come before its bytes are read is opened again; before the job owns it, this lets us.
  static void let_us_read(const Fd& pipe);

  // `pipe` is its write end, of which no other exists: while nobody but the job holds the read end, its closing shows.
  JobInput(Loop& loop, Session& session, std::uint64_t job, std::uint8_t stream, StreamFd pipe);

  bool push(std::string_view bytes) { return sink_.push(bytes); }  // false: the sender broke the window
  void end();                                                      // home's end of file
  std::uint64_t taken() const;                                     // what the job has read by now

 private:
  void written();
  void broken();
  void finish();
  void report();
  void enlarge();

  Session& session_;
  const std::uint64_t job_;
  const std::uint8_t stream_;
  Sink sink_;
  Timer again_;
  std::uint64_t wait_ms_ = 1;
  std::uint64_t told_ = 0;
  Fd unread_;  // after the end: what the job has not read yet
  bool ending_ = false, enlarged_ = false;
};

}  // namespace ssi
