// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/status_query.h"

#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <optional>

#include "common/control_socket.h"
#include "common/loop.h"

namespace ssi {
namespace {

template <class Reply>
struct Query {
  Loop loop;
  std::unique_ptr<ControlClient> client;
  std::optional<Result<Reply>> answer;
  std::optional<Reply> latest;

  void finish(Result<Reply> with) {
    if (!answer) answer = std::move(with);
    loop.stop();
  }
};

tl::unexpected<Error> refused(const std::string& address, const std::string& why) {
  return failure("scheduler " + address + ": " + why);
}

}  // namespace

Result<SchedulerList> known_schedulers() {
  auto config = load_config();
  if (!config) return tl::make_unexpected(config.error());
  const char* environment = std::getenv("SSI_SCHEDULER");
  auto schedulers = find_schedulers(*config, environment ? environment : "");
  if (!schedulers) return schedulers;
  if (schedulers->empty()) return failure("no pool is known: 'ssi pool up' starts one on this machine");
  for (const auto& one : *schedulers)
    if (one.key.empty())
      return failure("the key of scheduler " + one.address +
                     " is not known: set scheduler_key in the config, or SSI_SCHEDULER=HOST:PORT#KEY");
  return schedulers;
}

Result<SchedulerAddress> known_scheduler() {
  constexpr int patience_ms = 1'000;
  const auto schedulers = known_schedulers();
  if (!schedulers) return tl::make_unexpected(schedulers.error());
  if (schedulers->size() == 1) return schedulers->front();
  const auto self = deputy_identity();
  if (!self) return tl::make_unexpected(self.error());
  for (const auto& one : *schedulers)
    if (ask<wire::StatusReply>(one, *self, wire::StatusRequest{1}, patience_ms)) return one;
  return failure("none of the " + std::to_string(schedulers->size()) + " schedulers answers");
}

Result<wire::Control> ask_scheduler(const SchedulerAddress& scheduler, const Identity& self,
                                    const wire::Control& question, int timeout_ms) {
  Query<wire::Control> query;
  ControlClient::Events events;
  events.message = [&](wire::Control&& message) {
    if (auto* no = std::get_if<wire::Refused>(&message))
      query.finish(refused(scheduler.address, no->reason));
    else
      query.finish(std::move(message));
  };
  events.link = [&](ControlClient::Link link, const std::string& why) {
    if (link == ControlClient::Link::down) query.finish(refused(scheduler.address, why));
  };
  auto client = ControlClient::connect(query.loop, scheduler.address, scheduler.key, self, std::move(events));
  if (!client) return tl::make_unexpected(client.error());
  query.client = std::move(*client);
  query.client->send(question);
  Timer limit(query.loop);
  limit.once(static_cast<std::uint64_t>(timeout_ms), [&] {
    query.finish(refused(scheduler.address, fmt::format("no answer within {} s", timeout_ms / 1000.0)));
  });
  query.loop.run();
  query.client.reset();
  return std::move(*query.answer);
}

Result<wire::StatusReply> watch_status(const SchedulerAddress& scheduler, const Identity& self,
                                       int timeout_ms,
                                       std::function<Result<bool>(const wire::StatusReply&)> enough,
                                       std::function<Status()> still_wanted) {
  constexpr int turn_ms = 50;
  Query<wire::StatusReply> query;
  ControlClient::Events events;
  events.message = [&](wire::Control&& message) {
    auto* reply = std::get_if<wire::StatusReply>(&message);
    if (!reply) return;
    query.latest = std::move(*reply);
    auto verdict = enough(*query.latest);
    if (!verdict) query.finish(tl::make_unexpected(verdict.error()));
    if (verdict && *verdict) query.finish(*query.latest);
  };
  events.link = [](ControlClient::Link, const std::string&) {};
  auto client = ControlClient::connect(query.loop, scheduler.address, scheduler.key, self, std::move(events));
  if (!client) return tl::make_unexpected(client.error());
  query.client = std::move(*client);
  int waited = 0;
  Timer turn(query.loop);
  turn.every(turn_ms, [&] {
    waited += turn_ms;
    if (auto wanted = still_wanted(); !wanted) return query.finish(tl::make_unexpected(wanted.error()));
    if (waited < timeout_ms) {
      if (query.client->link() == ControlClient::Link::up)
        query.client->send(wire::StatusRequest{static_cast<std::uint64_t>(waited)});
      return;
    }
    if (query.latest) return query.finish(std::move(*query.latest));
    const std::string& why = query.client->why_down();
    query.finish(refused(scheduler.address, why.empty() ? "no answer" : why));
  });
  query.loop.run();
  query.client.reset();
  return std::move(*query.answer);
}

}  // namespace ssi
