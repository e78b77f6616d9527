// SPDX-License-Identifier: LGPL-2.1-or-later
// The frames that one end of a session sends: two lanes, small before bulk, and a position for each, by which what a
// connection lost goes again on the next one.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace ssi {

class Outbox {
 public:
  enum class Lane { small, bulk };

  void push(std::string frame, Lane lane);
  // Goes out once, without a position, before all others.
  void push_unnumbered(std::string frame) {
    unsent_ += frame.size();
    unnumbered_ += frame;
  }

  // The bytes to write next, the same until wrote() has taken all of them. Empty: there is nothing to send.
  std::string_view next();
  void wrote(std::size_t bytes);

  // The peer has all frames up to this position. False: it cannot, they were not sent.
  bool taken(std::uint64_t position);

  // On a new connection, whose peer has all frames up to this position, the later ones go again. False: it cannot have them, or
  // they are not kept any more.
  bool rewind(std::uint64_t position);

  std::size_t unsent() const { return unsent_; }  // bytes not yet written, or to be written again
  std::size_t kept() const { return kept_bytes_; }  // bytes that the peer has not acknowledged

 private:
  void fill();
  std::uint64_t sent() const { return taken_ + again_; }  // the last position that was written, or is being

  std::deque<std::string> small_, bulk_;
  std::deque<std::string> kept_;  // have a position: from taken_ + 1 on
  std::uint64_t taken_ = 0;
  std::size_t kept_bytes_ = 0;
  std::size_t again_ = 0;  // of kept_: the first that is not being, or was not, written on this connection
  std::string unnumbered_, batch_;
  std::string_view current_;  // into batch_ or the last of kept_ before again_
  std::size_t unsent_ = 0;
};

}  // namespace ssi
