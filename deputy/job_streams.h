// SPDX-License-Identifier: LGPL-2.1-or-later
// A job's streams at home's end: what the caller's descriptors yield goes to the guest, what comes from there into them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "common/pump.h"
#include "common/wire.h"
#include "deputy/caller.h"

namespace ssi {

class JobStreams {
 public:
  // `before_input` is called before the job is sent any of its input.
  JobStreams(Loop& loop, Session& session, std::uint64_t job, std::function<void()> before_input);
  ~JobStreams();

  // What a job that is run again needs, when the streams of the run before are gone.
  struct Kept {
    std::vector<PassedFd> descriptors;  // as they were passed
    Fd channel;
    std::map<std::uint8_t, std::string> taken;    // of an input: what does not lie there any more
    std::map<std::uint8_t, StreamSum> delivered;  // of an output: what must not be written again
    bool left_no_trace() const;                   // so that it may run at home, which knows nothing of the last two
  };
  static constexpr std::size_t max_taken = 64 << 20;  // bytes kept of the inputs, in all

  // `passed` and `described`, of the same length: what was passed, and what describe() made of it. `before`: of the run before.
  // Begins to pump.
  void connect(Kept before, const std::vector<wire::Descriptor>& described);

  std::string why_not_again() const;  // in one line; "": take_back() has all that another run needs
  bool silent() const;                // nothing has been said yet, not even on stderr
  bool has_taken() const;             // something from an input, which nobody else can read now
  // Ends the streams. Files that were read ahead of the job are set back to where they stood.
  Kept take_back();
  void keep_no_more();                  // it will not be run again
  void closed(std::uint8_t stream);     // by the job: who is at the other end must see it
  bool differs() const;                 // what it says is not what it said in the run before
  bool said_all_again() const;          // all that had been delivered then
  bool is_as_recorded(const std::vector<wire::StreamRecord>& outputs) const;  // all has come, as it was said

  // From the guest.
  bool data(std::uint8_t stream, std::string_view bytes);  // false: the peer broke the rules
  void credit(std::uint8_t stream, std::uint32_t bytes);
  void end(std::uint8_t stream);

  void consumed(std::uint8_t stream, std::uint64_t bytes);  // the job has read, in all
  void stop_inputs(
      const std::vector<wire::Position>& positions);  // the job reads no more, and has read so far
  void caller_left();  // what survives the job's leader writes to the terminal itself
  void settle(const std::vector<wire::Position>& positions);  // what was read ahead of the job goes back
  void flushed(std::function<void()> f);                      // calls `f` once all that came has been written
  const Error* write_error() const;
  std::uint64_t bytes_in() const, bytes_out() const;

 private:
  void connect_one(const wire::Descriptor& described, Fd fd);
  void record(std::uint8_t stream, Source& source);
  void add_input(std::uint8_t stream, Fd fd);
  void add_output(std::uint8_t stream, Fd fd);

  Loop& loop_;
  Session& session_;
  const std::uint64_t job_;
  const std::function<void()> before_input_;
  std::map<std::uint8_t, std::unique_ptr<Source>> inputs_;
  std::map<std::uint8_t, std::unique_ptr<Sink>> outputs_;
  struct File {  // a regular file that is streamed: its offset is set at the end
    Fd fd;
    off_t start;
  };
  std::map<std::uint32_t, File> files_;
  Fd terminal_;
  Kept before_;
  std::optional<std::vector<PassedFd>> kept_;
  Fd channel_;  // kept too
  std::vector<wire::Descriptor> described_;
  std::map<std::uint8_t, std::string> recorded_;  // of inputs that cannot be read twice: what was sent
  std::size_t recorded_bytes_ = 0;
  bool closed_one_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
