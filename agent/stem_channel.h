// SPDX-License-Identifier: LGPL-2.1-or-later
// The home process's end of the socket to its stem. Never blocks: the stem resolves paths through this very process's
// FUSE, so waiting for it could be for ever. What the socket does not take yet is queued, in order.
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "agent/inside.h"
#include "common/fd.h"
#include "common/fd_passing.h"
#include "common/loop.h"
#include "common/result.h"

namespace ssi {

class StemChannel {
 public:
  // `answered` is called when the stem has sent something: receive it with receive_with_fds(fd(), …).
  StemChannel(Loop& loop, Fd socket, std::function<void()> answered)
      : socket_(std::move(socket)),
        poll_(loop, socket_.get(), [this, answered = std::move(answered)](int ready) {
          if (ready & UV_WRITABLE) flush();
          if (ready & UV_READABLE) answered();
        }) {
    poll_.want(UV_READABLE);
  }

  int fd() const { return socket_.get(); }

  void send(const inside::ToStem& packet, std::vector<Fd> fds = {}) {
    queue_.emplace_back(packet, std::move(fds));
    if (queue_.size() == 1) flush();
  }

 private:
  void flush() {
    while (!queue_.empty()) {
      const auto& [packet, fds] = queue_.front();
      std::vector<int> passed;
      for (const auto& fd : fds) passed.push_back(fd.get());
      const auto sent = send_with_fds(socket_.get(), packet.bytes(), passed, MSG_DONTWAIT);
      if (!sent && sent.error().code == std::errc::resource_unavailable_try_again) break;
      queue_.pop_front();  // a dead stem shows as the end of its answers
    }
    poll_.want(queue_.empty() ? UV_READABLE : UV_READABLE | UV_WRITABLE);
  }

  Fd socket_;
  std::deque<std::pair<inside::ToStem, std::vector<Fd>>> queue_;
  Poll poll_;
};

}  // namespace ssi
