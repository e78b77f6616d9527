// SPDX-License-Identifier: LGPL-2.1-or-later
// How what is acknowledged ahead is sent: for the parts of Superblock that do so.
#pragma once

#include <utility>

#include "agent/superblock.h"

namespace ssi {

// `otherwise` hears of an errno, unless the link is lost: then the job dies with it.
template <class M, class Then, class Otherwise>
void Superblock::send_ahead(Ahead what, const M& message, Then then, Otherwise otherwise, std::string_view body) {
  const auto number = begin_ahead(what, body.size(), false);
  post_ahead(number, what.nodes, message, std::move(then), std::move(otherwise), body);
}

template <class M, class Then, class Otherwise>
void Superblock::post_ahead(std::uint64_t number, const Nodes& nodes, const M& message, Then then, Otherwise otherwise, std::string_view body) {
  home_->call<M>(
      message, body,
      [weak = weak_from_this(), home = home_, number, nodes, then = std::move(then),
       otherwise = std::move(otherwise)](Result<typename M::Reply> reply, std::string_view) {
        const auto self = weak.lock();
        if (!self) {
          home->acknowledged().end(number);
        } else {
          self->end_ahead(number, nodes);
          if (reply)
            then(*reply);
          else if (self->home_->session())
            otherwise(errno_of(reply.error()));
        }
        home->acknowledged().go_on();
      },
      Session::Lane::bulk);
}

// What was just made is held back: it may be removed at once.
template <class Then, class Otherwise>
void Superblock::hold_created(const wire::Create& message, std::uint64_t handle, Then then, Otherwise otherwise) {
  const Nodes nodes{message.as, message.parent};
  const auto job = message.caller.job;
  hold({.node = message.as, .handle = handle, .job = job, .create = message});
  held_.create_number = begin_ahead({job, nodes}, 0, false);
  held_.send_create = [this, number = held_.create_number, nodes, message, then = std::move(then), otherwise = std::move(otherwise)] {
    post_ahead(number, nodes, message, then, otherwise, {});
  };
}

}  // namespace ssi
