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

  // Of the same length: what was passed, and what describe() made of it. Begins to pump.
  void connect(std::vector<PassedFd> passed, const std::vector<wire::Descriptor>& described, Fd channel);

  // What was passed, as long as the job has left no trace: it may still run at home. Nothing if it has. Files that were
  // read ahead of it are set back to where they stood.
  std::optional<std::vector<PassedFd>> take_back();
  void keep_no_more() { kept_.reset(); }

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
  std::optional<std::vector<PassedFd>> kept_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
