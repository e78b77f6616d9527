// SPDX-License-Identifier: LGPL-2.1-or-later
// The guest at one scheduler: joins it, again and again, and reports to it once it is admitted. Each scheduler of a list
// knows the pool by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "agent/agent_config.h"
#include "common/control_socket.h"
#include "common/identity.h"
#include "common/loop.h"
#include "common/wire.h"

namespace ssi {

class Membership {
 public:
  struct Events {
    std::function<void()> joined;  // it wants a report
    std::function<void(const wire::Dial&)> dial;
    std::function<void(const wire::Drain&)> drain;
    std::function<void(std::uint64_t epoch)> taken;  // a report was
  };
  // `address` as "HOST:PORT", `key` the scheduler's public key. `options` and `self` must outlive it.
  static Result<std::unique_ptr<Membership>> begin(Loop& loop, const AgentOptions& options,
                                                   const std::string& address, const std::string& key,
                                                   const Identity& self, Events events);

  void report(const wire::Report& report) {  // dropped while it is not admitted
    if (joined_) client_->send(report);
  }

 private:
  Membership(Loop& loop, const AgentOptions& options, std::string address, const Identity& self,
             Events events)
      : options_(options),
        address_(std::move(address)),
        self_(self),
        events_(std::move(events)),
        retry_(loop) {}
  void link_changed(ControlClient::Link link, const std::string& why);
  void take(wire::Control&& message);
  void join();
  void answered(const wire::Joined& joined);
  void join_later();
  void say(const std::string& line);

  const AgentOptions& options_;
  const std::string address_;
  const Identity& self_;
  Events events_;
  Timer retry_;
  bool joined_ = false;
  std::uint64_t retry_ms_ = 0;
  std::string said_;
  std::unique_ptr<ControlClient> client_;
};

}  // namespace ssi
