// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/service.h"

#include <sodium.h>
#include <time.h>

#include <algorithm>
#include <cmath>

#include "common/log.h"
#include "common/ticket.h"

namespace ssi {
namespace {

constexpr std::size_t max_waiting = 4'096, max_complaints = 1'000;
constexpr std::uint64_t sweep_ms = 200;
constexpr std::int64_t young_ms =
    1'800;  // guests have found a restarted scheduler by then; below a deputy's patience
constexpr std::uint64_t longest_wait_ms = std::uint64_t{30} * 24 * 3600 * 1000;
constexpr std::size_t longest_of_stranger = 4'096;  // bytes of a message: a Join has some hundred

std::int64_t clock_ms(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Above all epochs of an earlier life: those rise far slower than once a millisecond.
std::uint64_t first_epoch() {
  return static_cast<std::uint64_t>(clock_ms(CLOCK_REALTIME));
}

// A restarted scheduler must not reuse the ids of jobs that still run, of which it knows nothing. 4000 ids a
// second are more than are placed in the long run; the 32 bits wrap after 12 days and keep an id at ten digits to
// type. Where among them a scheduler begins depends on which one it is too: a spare one is far away.
std::uint64_t first_job(const std::string& address, const std::string& key) {
  const auto who = key + address;
  std::uint64_t offset[2] = {};
  static_assert(sizeof offset == crypto_generichash_BYTES_MIN);
  crypto_generichash(reinterpret_cast<unsigned char*>(offset), sizeof offset,
                     reinterpret_cast<const unsigned char*>(who.data()), who.size(), nullptr, 0);
  return ((static_cast<std::uint64_t>(clock_ms(CLOCK_REALTIME)) * 4 + offset[0]) & 0xffffffff) + 1;
}

std::string nonce() {
  std::string bytes(16, '\0');
  randombytes_buf(bytes.data(), bytes.size());
  return bytes;
}

bool is_key_of(const wire::Bytes& key, const ControlServer::Peer& peer) {
  const auto curve = curve_key_of(key);
  return curve && *curve == peer.curve_key;
}

double plausible(double value, double most) {
  return std::isfinite(value) ? std::clamp(value, 0.0, most) : 0;
}

Demand demand_of(const wire::Place& place) {
  return {place.guest,
          place.never_home,
          place.may_wait,
          std::min<std::uint32_t>(place.cpus, 4096),
          place.memory,
          plausible(place.cpu_seconds, 1e9),
          place.can_be_called != 0,
          place.avoid};
}

// What its sender knows the message by; 0: nothing.
std::uint64_t request_of(const wire::Control& message) {
  return std::visit(
      [](const auto& kind) -> std::uint64_t {
        if constexpr (requires { kind.request; }) return kind.request;
        return 0;
      },
      message);
}

bool places_jobs(const Member& member) {
  return member.role == Role::deputy || member.role == Role::admin;
}

std::optional<Machine> home_of(const wire::Place& place) {
  Machine home;
  home.name = "home";
  home.cpus = std::min<std::uint32_t>(place.home_cpus, 4096);
  home.speed = plausible(place.home_speed, 100);
  home.busy = plausible(place.home_busy, 4096);  // with what waits there for a processor
  if (home.cpus == 0 || home.speed == 0) return std::nullopt;
  return home;
}

}  // namespace

Service::Service(Loop& loop, const std::string& address, Identity self, Admission admission, Tokens tokens)
    : self_(std::move(self)),
      admission_(std::move(admission)),
      enrolment_(admission_, std::move(tokens)),
      registry_(first_epoch(), first_job(address, self_.public_key())),
      sweep_(loop) {}

Result<std::unique_ptr<Service>> Service::start(Loop& loop, const std::string& address, Identity self,
                                                Admission admission, Tokens tokens) {
  std::unique_ptr<Service> made(
      new Service(loop, address, std::move(self), std::move(admission), std::move(tokens)));
  auto* service = made.get();
  auto server = ControlServer::listen(
      loop, address, service->self_,
      // Any key may connect, since guests join by themselves: so many a second, and what they say is short. take()
      // hears of a stranger nothing but that he would like to join.
      {[](std::string_view) { return true; },
       [service](const ControlServer::Peer& peer, wire::Control&& message) {
         service->take(peer, std::move(message));
       },
       [service](const ControlServer::Peer& peer, const Error& why) {
         if (const auto* member = service->admission_.find(peer.curve_key))
           service->refuse(peer, member->name, 0, why.text());
       },
       [service](std::string_view key) {
         return service->admission_.find(key) || service->strangers_.take(service->now());
       },
       [service](std::string_view key) {
         return service->admission_.find(key) ? wire::max_control : longest_of_stranger;
       }});
  if (!server) return tl::make_unexpected(server.error());
  service->server_ = std::move(*server);
  service->sweep_.every(sweep_ms, [service] {
    const auto went = service->registry_.sweep(service->now(), service->server_->is_deaf());
    service->enrolment_.sweep(service->now());
    for (const auto& name : went) log::warning("guest={} gone: no report for 3 s", name);
    const bool grew_up = service->was_young_ && !service->is_young();
    service->was_young_ = service->is_young();
    if (!went.empty() || grew_up) service->retry_waiting();  // who waits for a guest that is gone hears so
    service->tell_queue();
  });
  return made;
}

std::int64_t Service::now() {
  return clock_ms(CLOCK_MONOTONIC);
}

void Service::take(const ControlServer::Peer& peer, wire::Control&& message) {
  if (const auto* join = std::get_if<wire::Join>(&message))
    return server_->send(peer.route, enrolment_.join(peer, *join, now()));
  const auto* found = admission_.find(peer.curve_key);
  if (!found) return turn_away(peer, message);
  const auto member = *found;
  std::visit([&](const auto& kind) { on(peer, member, kind); }, message);
}

void Service::turn_away(const ControlServer::Peer& peer, const wire::Control& message) {
  const wire::Bytes* key = nullptr;
  if (const auto* report = std::get_if<wire::Report>(&message)) key = &report->key;
  if (const auto* place = std::get_if<wire::Place>(&message)) key = &place->home_key;
  const auto which = key && is_key_of(*key, peer) ? " " + fingerprint(*key) : std::string();
  server_->send(peer.route, wire::Refused{request_of(message), "the scheduler refused our key" + which +
                                                                   ": it is not admitted there"});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Report& received) {
  auto report = received;
  const auto refuse_report = [&](const std::string& why) {
    if (member.role != Role::guest) return refuse(peer, member.name, report.sequence, why);
    enrolment_.note_refused(member, peer, why, now());
    server_->send(peer.route, wire::Refused{report.sequence, why});
  };
  if (auto spoken = check_version(report.version); !spoken) return refuse_report(spoken.error().text());
  if (member.role != Role::guest) return refuse_report("this key is a deputy's: it cannot report as a guest");
  if (!is_key_of(report.key, peer)) return refuse_report("the report's key is not the connection's");
  if ((report.address.empty() && !report.dials_out) || report.address.size() > 300)
    return refuse_report("the report names no address");
  report.name = member.name;
  const auto taken = registry_.take(report, peer.route, now());
  if (!taken) return refuse_report(taken.error().text());
  if (taken->came_up)
    log::info("guest={} up {} cpus={} speed={:.2f} epoch={}", report.name,
              report.dials_out ? "and dials out" : "at " + report.address, report.cpus, report.speed,
              taken->epoch);
  server_->send(peer.route, wire::ReportTaken{report.sequence, taken->epoch});
  if (taken->order) server_->send(peer.route, *taken->order);
  retry_waiting();
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Place& place) {
  if (auto spoken = check_version(place.version); !spoken)
    return refuse(peer, member.name, place.request, spoken.error().text());
  if (!places_jobs(member)) return refuse(peer, member.name, place.request, "a guest places no jobs");
  if (!is_key_of(place.home_key, peer))
    return refuse(peer, member.name, place.request, "the request's home key is not the connection's");
  server_->send(peer.route, wire::PlaceTaken{place.request});
  Waiting asked{peer, place, member.name,
                now() - static_cast<std::int64_t>(std::min(place.waited_ms, longest_wait_ms))};
  // Of a home that had lost us, and asks again.
  std::erase_if(waiting_, [&](const Waiting& other) {
    return other.place.home_key == place.home_key && other.place.request == place.request;
  });
  const auto at = std::ranges::upper_bound(waiting_, asked.since, {}, &Waiting::since);
  asked.before = static_cast<std::uint32_t>(at - waiting_.begin());
  auto machines = registry_.machines(now());
  if (answer(asked, true, machines)) return;
  if (waiting_.size() >= max_waiting) return refuse(peer, member.name, place.request, "too many jobs wait");
  waiting_.insert(at, std::move(asked));
}

void Service::on(const ControlServer::Peer&, const Member& member, const wire::JobEnded& ended) {
  if (ended.job == 0)
    std::erase_if(waiting_, [&](const Waiting& asked) {
      return asked.place.home_key == member.key && asked.place.request == ended.request;
    });
  if (!places_jobs(member) || !registry_.end(ended.job, member.key)) return;
  log::info("job={} ended user={} cpu={:.2f}s", ended.job, member.name, plausible(ended.cpu_seconds, 1e9));
  retry_waiting();
}

void Service::on(const ControlServer::Peer& peer, const Member&, const wire::StatusRequest& request) {
  server_->send(peer.route, wire::StatusReply{request.request, registry_.status(now())});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Callback& callback) {
  const auto route = places_jobs(member) ? registry_.route_of(callback.job, member.key) : std::string();
  if (route.empty())
    return refuse(peer, member.name, 0, "no job of this home is placed at a guest that it calls");
  server_->send(route, wire::Dial{callback.address, callback.rendezvous, callback.session});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::GuestsRequest& request) {
  if (!places_jobs(member)) return refuse(peer, member.name, request.request, "a guest asks for no guests");
  server_->send(peer.route,
                wire::GuestsReply{request.request, enrolment_.entries(registry_.status(now()), now())});
}

bool Service::is_admin(const ControlServer::Peer& peer, const Member& member, std::uint64_t request) {
  if (member.role == Role::admin) return true;
  refuse(peer, member.name, request,
         "only an administrator may: the scheduler's --admit directory must have a file with 'admin KEY'");
  return false;
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Admit& admit) {
  if (!is_admin(peer, member, admit.request)) return;
  std::string name;
  if (admit.revoke) {
    const auto guest = enrolment_.revoke(admit.who);
    if (!guest) return refuse(peer, member.name, admit.request, guest.error().text());
    name = guest->name;
    registry_.forget(name);
    log::info("guest={} revoked by {} key={}", name, member.name, fingerprint(guest->key));
  } else {
    const auto approved = enrolment_.approve(admit.who);
    if (!approved) return refuse(peer, member.name, admit.request, approved.error().text());
    name = approved->name;
    if (!approved->route.empty())
      server_->send(approved->route,
                    wire::Joined{static_cast<std::uint8_t>(wire::Joining::admitted), name, ""});
  }
  server_->send(peer.route, wire::Admitted{admit.request, name});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::TokenRequest& request) {
  if (!is_admin(peer, member, request.request)) return;
  auto token = enrolment_.make_token(request.seconds);
  if (!token) return refuse(peer, member.name, request.request, token.error().text());
  log::info("{} made a token for {} s", member.name, request.seconds);
  server_->send(peer.route, wire::TokenReply{request.request, *token});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::JobsRequest& request) {
  if (member.role == Role::guest)
    return refuse(peer, member.name, request.request, "a guest does not see the pool's jobs");
  server_->send(peer.route, wire::JobsReply{request.request, registry_.jobs(now())});
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Drain& drain) {
  if (!is_admin(peer, member, drain.request)) return;
  const auto route = registry_.drain(drain);
  if (!route) return refuse(peer, member.name, drain.request, route.error().text());
  log::info("guest={} {} by {}", drain.guest,
            drain.resume ? "resumed"
            : drain.now  ? "drained at once"
                         : "drained",
            member.name);
  server_->send(*route, drain);
  server_->send(peer.route, wire::Drained{drain.request});
  retry_waiting();
}

void Service::on(const ControlServer::Peer& peer, const Member& member, const wire::Holding& holding) {
  if (!places_jobs(member)) return refuse(peer, member.name, 0, "a guest holds no jobs");
  std::set<std::string> admitted;
  for (const auto& guest : admission_.guests()) admitted.insert(guest.key);
  auto jobs = holding.jobs;
  std::erase_if(jobs, [&](const auto& job) { return !admitted.contains(job.guest_key); });
  registry_.hold(jobs, member.key, now());
}

template <class Other>
void Service::on(const ControlServer::Peer& peer, const Member& member, const Other&) {
  refuse(peer, member.name, 0, "a scheduler does not take this message");
}

void Service::refuse(const ControlServer::Peer& peer, const std::string& name, std::uint64_t request,
                     std::string reason) {
  if (complained_.size() < max_complaints && complained_.insert(name + reason).second)
    log::warning("refused {}: {}", name, reason);
  server_->send(peer.route, wire::Refused{request, std::move(reason)});
}

bool Service::answer(const Waiting& asked, bool is_first, std::vector<Machine>& machines) {
  const auto decision = placement::place(demand_of(asked.place), home_of(asked.place), machines);
  // Who could run at home is not kept; who cannot, or would rather wait, waits for the guests that are still to report.
  const bool is_early =
      decision.absent && is_young() && (decision.verdict == wire::Verdict::refused || asked.place.may_wait);
  const bool waits = decision.verdict == wire::Verdict::wait || (is_early && asked.place.may_wait);
  if ((waits && !is_first) || (is_early && !waits)) return false;
  wire::Placed placed;
  if (decision.verdict == wire::Verdict::guest) {
    placed = admit_job(asked, decision);
    machines = registry_.machines(now());
  }
  placed.request = asked.place.request;
  placed.verdict = static_cast<std::uint8_t>(waits ? wire::Verdict::wait : decision.verdict);
  placed.reason = decision.reason;
  placed.before = asked.before;
  const auto where = placed.job ? "job=" + std::to_string(placed.job) + " guest=" + placed.guest : "no guest";
  log::info("{} user={} home={} command={}: {}", where, asked.user, asked.place.home, asked.place.command,
            decision.reason);
  server_->send(asked.peer.route, placed);
  return !waits;
}

wire::Placed Service::admit_job(const Waiting& asked, const Decision& decision) {
  const auto& place = asked.place;
  const auto promise = registry_.promise(decision.guest, place.home_key, place.cpus, place.memory, now());
  Ticket ticket;
  ticket.user = asked.user;
  ticket.home_key = place.home_key;
  ticket.guest_key = promise.guest_key;
  ticket.job = promise.job;
  ticket.epoch = promise.epoch;
  ticket.issued_ms = clock_ms(CLOCK_REALTIME);
  ticket.expires_ms = ticket.issued_ms + Ticket::lifetime_ms;
  ticket.nonce = nonce();
  ticket.cpus = place.cpus;
  ticket.memory = place.memory;
  wire::Placed placed;
  placed.job = promise.job;
  placed.guest = decision.guest;
  placed.address = promise.address;
  placed.guest_key = promise.guest_key;
  placed.epoch = promise.epoch;
  placed.speed = promise.speed;
  placed.ticket = ticket.seal(self_);
  placed.dials_out = promise.dials_out;
  return placed;
}

// In the order in which they came; who asked for little may overtake who cannot be served yet.
void Service::retry_waiting() {
  if (waiting_.empty()) return;
  auto machines = registry_.machines(now());
  std::erase_if(waiting_, [&](const Waiting& asked) { return answer(asked, false, machines); });
}

void Service::tell_queue() {
  std::uint32_t before = 0;
  for (auto& asked : waiting_) {
    if (asked.place.may_wait && asked.before != before)
      server_->send(asked.peer.route, wire::Queued{asked.place.request, before});
    asked.before = before++;
  }
}

bool Service::is_young() const {
  return now() - born_ < young_ms;
}

}  // namespace ssi
