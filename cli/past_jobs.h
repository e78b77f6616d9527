// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads what deputies wrote of past jobs (deputy/history_database.cc), also while one writes. Changes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

namespace ssi {

struct PastJob {  // what is not known is not there
  std::uint64_t id = 0;
  double started = 0;  // seconds since the epoch
  std::string user, home, guest, command, rule, reason, state;
  std::optional<double> predicted;  // seconds of a speed-1.0 processor
  std::optional<int> status;        // 128 + n: signal n killed it
  std::optional<double> seconds, cpu;
  std::optional<std::uint64_t> memory, bytes_in, bytes_out;
  std::optional<std::uint64_t> round_trips, cache_hits;  // file requests that home answered, and that the guest did
  std::optional<double> file_wait;                       // seconds for the former, all its tasks together
};

// Those that have ended, newest first. A file that is not there is empty.
Result<std::vector<PastJob>> past_jobs(const std::string& path, std::size_t limit);

// The newest of that number, running or ended.
Result<std::optional<PastJob>> find_past_job(const std::string& path, std::uint64_t id);

}  // namespace ssi
