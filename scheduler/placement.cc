// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <tuple>

namespace ssi::placement {
namespace {

using wire::Verdict;
using Guests = std::vector<const Machine*>;

bool gone(const Machine& guest) {
  return guest.silent >= gone_after;
}

bool out_of_reach(const Machine& guest, const Demand& demand) {
  return guest.dials_out && !demand.can_be_called;
}

constexpr const char* how_to_be_called =
    "dials out and cannot reach this home: see 'listen' in [home] of config.toml";

double effective(const Machine& machine) {
  return machine.cpus * (1 - machine.steal);
}

double wanted(const Machine& machine, std::uint32_t cpus) {
  return std::min(cpus == 0 ? machine.cpus : cpus, machine.cpus);
}

// What a newcomer shares with. Each job placed there wants a processor at least: `busy` never tells more than there are,
// and guests on one machine, or at home what was placed a moment ago, hide from it.
double crowd(const Machine& machine) {
  return std::max(machine.busy + machine.reserved, static_cast<double>(machine.jobs));
}

double free(const Machine& machine) {
  return std::max(0.0, effective(machine) - crowd(machine));
}

// Seconds until the job would have ended there.
double finish(const Machine& machine, const Demand& demand, double overhead) {
  const double work = demand.cpu_seconds > 0 ? demand.cpu_seconds : heavy_work;
  const double rate = processors(machine, demand.cpus) * machine.speed;
  return rate > 0 ? overhead + work / rate : std::numeric_limits<double>::infinity();
}

std::string load_of(const Machine& machine) {
  return fmt::format("{:.1f} of {}", free(machine), machine.cpus);
}

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

bool has_memory(const Machine& guest, const Demand& demand) {
  return guest.memory_free >= demand.memory;
}

// For --wait: half a processor for each that the job can use is worth starting on. So is a guest without jobs, however
// busy: who waits, waits for jobs to end, and what else runs there, or on its host, may never end.
bool has_room(const Machine& guest, const Demand& demand) {
  return has_memory(guest, demand) && (guest.jobs == 0 || free(guest) >= wanted(guest, demand.cpus) / 2);
}

Decision at(const Machine& guest, std::string reason) {
  return {Verdict::guest, std::move(reason), guest.name};
}

// No guest will do: home, unless that is forbidden.
Decision no_guest(const Demand& demand, std::string why) {
  return {demand.never_home ? Verdict::refused : Verdict::home, std::move(why), {}};
}

Decision place_at_named(const Demand& demand, const std::vector<Machine>& guests) {
  const auto found = std::ranges::find(guests, demand.guest, &Machine::name);
  if (found == guests.end()) return {Verdict::refused, "no guest named " + demand.guest, {}, true};
  if (gone(*found))
    return {Verdict::refused, fmt::format("{} has been silent for {:.0f} s", found->name, found->silent), {}};
  if (out_of_reach(*found, demand))
    return {Verdict::refused, fmt::format("{} {}", found->name, how_to_be_called), {}};
  if (found->draining)
    return {demand.may_wait ? Verdict::wait : Verdict::refused, found->name + " is draining", {}};
  if (found->memory_total < demand.memory || (!has_memory(*found, demand) && !demand.may_wait))
    return {Verdict::refused,
            fmt::format("{} has {} of memory free, {} are asked for", found->name, gib(found->memory_free),
                        gib(demand.memory)),
            {}};
  if (demand.may_wait && !has_room(*found, demand))
    return {Verdict::wait, fmt::format("{} is busy ({} processors free)", found->name, load_of(*found)), {}};
  return at(*found, fmt::format("{} was asked for ({} processors free)", found->name, load_of(*found)));
}

const Machine& best_of(const Guests& guests, const Demand& demand) {
  double first = std::numeric_limits<double>::infinity();
  for (const auto* guest : guests) first = std::min(first, finish(*guest, demand, guest_overhead));
  const auto order = [&](const Machine* guest) {
    const bool slow = finish(*guest, demand, guest_overhead) > first * as_good;
    return std::tuple(slow, guest->jobs, std::cref(guest->name).get());
  };
  return **std::ranges::min_element(guests, {}, order);
}

}  // namespace

double processors(const Machine& machine, std::uint32_t cpus) {
  const double want = wanted(machine, cpus);
  if (want <= 0) return 0;
  // On a busy machine the kernel shares by runnable threads, of which the job brings `want`.
  const double others = crowd(machine), share = effective(machine) * want / (want + others);
  return std::min(want, std::max(effective(machine) - others, share));
}

Decision place(const Demand& demand, const std::optional<Machine>& home, const std::vector<Machine>& guests) {
  if (!demand.guest.empty()) return place_at_named(demand, guests);

  Guests up, fitting, roomy;
  const Machine* unreachable = nullptr;
  bool some_drain = false;
  for (const auto& guest : guests) {
    if (gone(guest) || std::ranges::find(demand.avoid, guest.name) != demand.avoid.end()) continue;
    if (out_of_reach(guest, demand))
      unreachable = &guest;
    else if (guest.draining)
      some_drain = true;
    else
      up.push_back(&guest);
  }
  if (up.empty() && some_drain)  // they may be resumed
    return demand.may_wait ? Decision{Verdict::wait, "all guests are draining", {}}
                           : no_guest(demand, "all guests are draining");
  if (up.empty() && unreachable)
    return no_guest(demand, fmt::format("{} {}", unreachable->name, how_to_be_called));
  if (up.empty()) {
    auto none = no_guest(demand, demand.avoid.empty() ? "no guest is up" : "no other guest is up");
    none.absent = demand.avoid.empty();
    return none;
  }
  std::ranges::copy_if(up, std::back_inserter(fitting),
                       [&](auto* guest) { return has_memory(*guest, demand); });
  std::ranges::copy_if(fitting, std::back_inserter(roomy),
                       [&](auto* guest) { return has_room(*guest, demand); });

  const auto large_enough = [&](auto* guest) { return guest->memory_total >= demand.memory; };
  if (demand.may_wait && roomy.empty() && std::ranges::any_of(up, large_enough))
    return {Verdict::wait, "all guests are busy", {}};
  if (fitting.empty())
    return no_guest(demand, fmt::format("no guest has {} of memory free", gib(demand.memory)));

  const auto& best = best_of(demand.may_wait ? roomy : fitting, demand);
  if (home && home->cpus > 0 && !demand.never_home) {
    auto shared = *home;
    shared.steal = 1 - (1 - home->steal) * home_share;
    if (finish(shared, demand, 0) * as_good < finish(best, demand, guest_overhead))
      return {Verdict::home,
              fmt::format("home is expected to end first ({} processors free; {}: {})", load_of(*home),
                          best.name, load_of(best)),
              {}};
  }
  return at(best, fmt::format("{} is expected to end first ({} processors free)", best.name, load_of(best)));
}

}  // namespace ssi::placement
