// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/registry.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace ssi {
namespace {

constexpr std::size_t lives_remembered = 16;  // boots, and connections of one boot
constexpr std::size_t max_text = 255;         // bytes of a name in a report
constexpr Registry::Time overslept_ms = 1'000;
constexpr std::uint64_t max_epochs_ahead = std::uint64_t{1}
                                           << 40;  // 35 years, in ms: other schedulers' clocks

// A number that a guest claims, or the bound that makes the guest look worst when it is none.
double clamped(double value, double low, double high, double worst) {
  return std::isnan(value) ? worst : std::clamp(value, low, high);
}

wire::Report clamped(wire::Report report) {
  report.cpus = std::clamp<std::uint32_t>(report.cpus, 1, 4096);
  report.speed = clamped(report.speed, 0.01, 100, 0.01);
  report.busy = clamped(report.busy, 0, report.cpus, report.cpus);
  report.steal = clamped(report.steal, 0, 1, 1);
  report.memory_total = std::min(report.memory_total, std::uint64_t{1} << 50);
  report.memory_free = std::min(report.memory_free, report.memory_total);
  report.pressure_cpu = clamped(report.pressure_cpu, -1, 100, -1);
  report.pressure_memory = clamped(report.pressure_memory, -1, 100, -1);
  for (auto& use : report.used) {
    use.seconds = clamped(use.seconds, 0, 1e9, 0);
    for (auto* text : {&use.user, &use.home, &use.command}) text->resize(std::min(text->size(), max_text));
  }
  return report;
}

bool contains(const auto& list, const auto& value) {
  return std::ranges::find(list, value) != list.end();
}

template <class List, class Value>
void remember(List& list, const Value& value) {
  list.push_back(value);
  if (list.size() > lives_remembered) list.erase(list.begin());
}

}  // namespace

Result<Registry::Taken> Registry::take(const wire::Report& report, const std::string& route, Time now) {
  const auto [place, is_new] = guests_.try_emplace(report.name);
  auto& guest = place->second;
  const auto twin = [&] {
    return failure("two guests have the key of " + report.name + ": the newer one counts");
  };
  const bool came_up = is_new || guest.gone || report.boot != guest.report.boot;
  // The schedulers of a list give a guest one epoch, the highest, and a restarted one goes on with it: so sessions
  // outlive their scheduler. What a guest says without sense harms itself alone.
  const auto told = report.epoch < first_epoch_ + max_epochs_ahead ? report.epoch : 0;
  if (is_new) {
    guest.epoch = told != 0 ? told : first_epoch_;
    if (const auto fenced = fenced_.extract(report.key)) guest.epoch = std::max(guest.epoch, fenced.mapped());
  } else if (contains(guest.earlier_boots, report.boot)) {
    return twin();  // they would take turns
  } else if (report.boot != guest.report.boot) {
    ++guest.epoch;
    guest.reserved.clear();
    guest.order.reset();
    remember(guest.earlier_boots, guest.report.boot);
    guest.earlier_routes.clear();
  } else if (route != guest.route && !guest.gone && contains(guest.earlier_routes, route)) {
    return twin();  // one boot from two places: a saved domain that was restored twice
  } else if (report.sequence <= guest.report.sequence) {
    return Taken{guest.epoch, false, {}};  // overtaken on the way: it says nothing about now
  } else if (guest.gone) {
    ++guest.epoch;
  }
  if (!is_new && route != guest.route && report.boot == guest.report.boot) {
    remember(guest.earlier_routes, guest.route);
    std::erase(guest.earlier_routes, route);
  }
  guest.route = route;
  guest.report = clamped(report);
  guest.heard = now;
  guest.gone = false;
  guest.epoch = std::max(guest.epoch, told);
  if (auto held = early_.extract(report.key)) guest.reserved.merge(held.mapped());
  settle(guest, now);
  if (guest.order && (guest.order->resume == 0) == (guest.report.draining != 0)) guest.order.reset();
  return Taken{guest.epoch, came_up, guest.order};
}

// Ends the reservations that the guest's own word has replaced.
void Registry::settle(Guest& guest, Time now) {
  for (auto at = guest.reserved.begin(); at != guest.reserved.end();) {
    auto& reserved = at->second;
    const bool is_listed = contains(guest.report.jobs, at->first.first);
    if (is_listed && !reserved.listed) reserved.listed = now;
    const bool over = !is_listed && (reserved.listed || now - reserved.promised >= unlisted_ms);
    at = over ? guest.reserved.erase(at) : std::next(at);
  }
}

std::vector<Machine> Registry::machines(Time now) const {
  std::vector<Machine> machines;
  for (const auto& [name, guest] : guests_) {
    const auto& report = guest.report;
    Machine machine{name,
                    static_cast<double>(now - guest.heard) / 1000,
                    report.cpus,
                    report.speed,
                    report.busy,
                    report.steal,
                    0,
                    report.memory_total,
                    report.memory_free,
                    0,
                    report.dials_out != 0,
                    guest.draining()};
    std::set<std::uint64_t> jobs(report.jobs.begin(), report.jobs.end());
    for (const auto& [whose, reserved] : guest.reserved) {
      jobs.insert(whose.first);
      if (reserved.listed && now - *reserved.listed >= shown_ms) continue;
      machine.reserved += std::min(report.cpus, reserved.cpus == 0 ? report.cpus : reserved.cpus);
      machine.memory_free -= std::min(machine.memory_free, reserved.memory);
    }
    machine.jobs = jobs.size();
    machines.push_back(std::move(machine));
  }
  return machines;
}

std::vector<wire::GuestStatus> Registry::status(Time now) const {
  std::vector<wire::GuestStatus> all;
  for (const auto& [name, guest] : guests_) {
    const auto& report = guest.report;
    const auto silent = now - guest.heard;
    const auto promised = std::ranges::count_if(
        guest.reserved, [&](const auto& reserved) { return !contains(report.jobs, reserved.first.first); });
    const auto* state = silent >= gone_ms ? "gone" : guest.draining() ? "draining" : "up";
    all.push_back({name, state, report.key, report.address, report.cpus, report.speed, report.busy,
                   report.steal, report.memory_total, report.memory_free, report.jobs, report.version,
                   static_cast<double>(silent) / 1000, static_cast<std::uint32_t>(promised)});
  }
  return all;
}

std::vector<wire::JobStatus> Registry::jobs(Time now) const {
  std::vector<wire::JobStatus> all;
  for (const auto& [name, guest] : guests_) {
    if (now - guest.heard >= gone_ms) continue;
    for (const auto& use : guest.report.used)
      if (all.size() < max_jobs && contains(guest.report.jobs, use.job)) all.push_back({name, use});
  }
  return all;
}

Registry::Promise Registry::promise(const std::string& name, const std::string& home_key, std::uint32_t cpus,
                                    std::uint64_t memory, Time now) {
  auto& guest = guests_.at(name);
  const auto job = next_job_++;
  guest.reserved[{job, home_key}] = {cpus, memory, now, std::nullopt};
  return {job,
          guest.epoch,
          guest.report.address,
          guest.report.key,
          guest.report.dials_out != 0,
          guest.report.speed};
}

void Registry::hold(const std::vector<wire::HeldJob>& jobs, const std::string& home_key, Time now) {
  std::map<std::string_view, Guest*> known;
  for (auto& [name, guest] : guests_) known[guest.report.key] = &guest;
  for (const auto& held : jobs) {
    const auto found = known.find(held.guest_key);
    const auto* guest = found == known.end() ? nullptr : found->second;
    auto& reserved = guest ? found->second->reserved : early_[held.guest_key];
    if (reserved.size() >= max_reserved) continue;
    // What the guest's report lists, it shows too.
    const bool is_listed = guest && contains(guest->report.jobs, held.job);
    reserved.try_emplace({held.job, home_key},
                         Reserved{std::min(held.cpus, 4096U), held.memory, now,
                                  is_listed ? std::optional(now - shown_ms) : std::nullopt});
  }
}

void Registry::forget(const std::string& guest) {
  const auto found = guests_.find(guest);
  if (found == guests_.end()) return;
  fenced_[found->second.report.key] = found->second.epoch + 1;
  guests_.erase(found);
}

Result<std::string> Registry::drain(const wire::Drain& order) {
  const auto found = guests_.find(order.guest);
  if (found == guests_.end() || found->second.gone)
    return failure("no guest named " + order.guest + " is up");
  found->second.order = order;
  return found->second.route;
}

std::string Registry::route_of(std::uint64_t job, const std::string& home_key) const {
  for (const auto& [name, guest] : guests_)
    if (guest.reserved.contains({job, home_key})) return guest.route;
  return {};
}

bool Registry::end(std::uint64_t job, const std::string& home_key) {
  for (auto& [key, reserved] : early_)
    if (reserved.erase({job, home_key})) return true;
  for (auto& [name, guest] : guests_) {
    if (!guest.reserved.erase({job, home_key})) continue;
    // Its next report would say so; until then the number of jobs, which spreads equal jobs, is already
    // right.
    std::erase(guest.report.jobs, job);
    return true;
  }
  return false;
}

std::vector<std::string> Registry::sweep(Time now, bool was_deaf) {
  std::vector<std::string> went;
  if (swept_ && (was_deaf || now - *swept_ >= overslept_ms))
    for (auto& [name, guest] : guests_) guest.heard = std::min(now, guest.heard + now - *swept_);
  swept_ = now;
  for (auto at = early_.begin(); at != early_.end();) {
    std::erase_if(at->second, [&](const auto& held) { return now - held.second.promised >= unlisted_ms; });
    at = at->second.empty() ? early_.erase(at) : std::next(at);
  }
  for (auto at = guests_.begin(); at != guests_.end();) {
    auto& [name, guest] = *at;
    if (!guest.gone && now - guest.heard >= gone_ms) {
      guest.gone = true;
      went.push_back(name);
    }
    if (now - guest.heard < forget_ms) {
      ++at;
      continue;
    }
    fenced_[guest.report.key] = guest.epoch + 1;
    at = guests_.erase(at);
  }
  return went;
}

}  // namespace ssi
