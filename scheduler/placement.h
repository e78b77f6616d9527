// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a job is expected to end first. Pure: what is known of the machines goes in, a decision comes out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/wire.h"

namespace ssi {

// A guest, or the home, as placement sees it.
struct Machine {
  std::string name;
  double silent = 0;  // seconds since its last report
  std::uint32_t cpus = 0;
  double speed = 1;     // of one processor, as in wire::Report
  double busy = 0;      // processors in use
  double steal = 0;     // share taken by its host, 0..1
  double reserved = 0;  // processors promised to jobs that `busy` does not yet show
  std::uint64_t memory_total = 0, memory_free = 0;
  std::size_t jobs = 0;    // placed there and not ended
  bool dials_out = false;  // can be used only by a home that can be called
  bool draining = false;   // takes no new jobs
};

struct Demand {
  std::string guest;  // this one or none; empty: any
  bool never_home = false, may_wait = false;
  std::uint32_t cpus = 0;    // 0: as many as there are
  std::uint64_t memory = 0;  // 0: unknown
  double cpu_seconds = 0;    // at speed 1.0; 0: unknown
  bool can_be_called = false;
  std::vector<std::string> avoid;  // names of guests that have failed it
};

struct Decision {
  wire::Verdict verdict = wire::Verdict::refused;
  std::string reason;  // one line
  std::string guest;   // with Verdict::guest
  bool absent = false;  // because a guest, or all, are not known here: they may be elsewhere, or report soon
};

namespace placement {

inline constexpr double gone_after = 3;         // seconds without a report
inline constexpr double guest_overhead = 0.05;  // seconds that a guest takes to start a job
inline constexpr double heavy_work = 30;        // assumed of a job that nobody knows: a rule calls it heavy
// The home's owner sits at it: a quarter of it is left alone, so that of two equal machines the guest is
// chosen.
inline constexpr double home_share = 0.75;
// Measured speeds and loads differ by a few percent from report to report: what ends within this factor of
// the best ends "first" too, and the number of jobs decides, so that equal jobs spread over equal guests.
inline constexpr double as_good = 1.05;

// The processors that a job wanting `cpus` of them (0: all) can count on there.
double processors(const Machine& machine, std::uint32_t cpus);

// `home`: nothing when the home said nothing about itself; then it is chosen only for want of a guest.
Decision place(const Demand& demand, const std::optional<Machine>& home, const std::vector<Machine>& guests);

}  // namespace placement
}  // namespace ssi
