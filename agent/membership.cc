// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/membership.h"

#include <algorithm>

#include "common/log.h"

namespace ssi {
namespace {

constexpr std::uint64_t first_retry_ms = 1'000, last_retry_ms = 60'000;  // of joining; doubled each time
constexpr std::uint64_t answer_ms = 10'000;                              // for the scheduler to answer a Join

}  // namespace

Result<std::unique_ptr<Membership>> Membership::begin(Loop& loop, const AgentOptions& options,
                                                      const std::string& address, const std::string& key,
                                                      const Identity& self, Events events) {
  std::unique_ptr<Membership> made(new Membership(loop, options, address, self, std::move(events)));
  auto client = ControlClient::connect(
      loop, address, key, self,
      {[member = made.get()](wire::Control&& message) { member->take(std::move(message)); },
       [member = made.get()](ControlClient::Link link, const std::string& why) {
         member->link_changed(link, why);
       }});
  if (!client) return tl::make_unexpected(client.error());
  made->client_ = std::move(*client);
  return made;
}

void Membership::link_changed(ControlClient::Link link, const std::string& why) {
  joined_ = false;
  retry_.stop();
  retry_ms_ = first_retry_ms;
  if (link == ControlClient::Link::up) join();
  if (link == ControlClient::Link::down) say("no scheduler at " + address_ + ": " + why);
}

void Membership::take(wire::Control&& message) {
  if (const auto* joined = std::get_if<wire::Joined>(&message)) answered(*joined);
  if (const auto* dial = std::get_if<wire::Dial>(&message)) events_.dial(*dial);
  if (const auto* drain = std::get_if<wire::Drain>(&message)) events_.drain(*drain);
  if (const auto* taken = std::get_if<wire::ReportTaken>(&message)) {
    retry_ms_ = first_retry_ms;
    events_.taken(taken->epoch);
  }
  if (const auto* refused = std::get_if<wire::Refused>(&message)) {
    say("the scheduler refused a report: " + refused->reason);
    join_later();
  }
}

// Asked again when no answer comes: a busy scheduler's socket drops what it cannot send.
void Membership::join() {
  client_->send(wire::Join{wire::version, options_.name, self_.public_key(), options_.uuid, options_.token});
  retry_.once(answer_ms, [this] { join(); });
}

void Membership::answered(const wire::Joined& joined) {
  const auto state = static_cast<wire::Joining>(joined.state);
  if (state != wire::Joining::admitted) {
    say(std::string(state == wire::Joining::pending ? "pending: " : "refused: ") + joined.reason);
    return join_later();
  }
  if (joined_) return;
  joined_ = true;
  retry_.stop();
  log::info("joined as {}", joined.name);
  said_.clear();
  events_.joined();
}

// Also after a refused report: that ends by itself when an administrator, or a twin's end, has mended it.
void Membership::join_later() {
  joined_ = false;
  retry_.once(retry_ms_, [this] { join(); });
  retry_ms_ = std::min(2 * retry_ms_, last_retry_ms);
}

// For the guest's console: once, until something else is to be said.
void Membership::say(const std::string& line) {
  if (line != said_) log::warning("{}", line);
  said_ = line;
}

}  // namespace ssi
