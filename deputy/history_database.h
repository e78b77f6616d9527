// SPDX-License-Identifier: LGPL-2.1-or-later
// The file of past jobs. The only one (with its .cc, and cli/past_jobs.cc, which reads) that names sqlite. Synchronous:
// who must not wait calls it on another thread, from one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "deputy/home_needs.h"
#include "deputy/predictions.h"

struct sqlite3;

namespace ssi {

struct JobBegan {
  std::uint64_t id = 0;  // the scheduler's; 0: it runs at home and gets one above first_home_id
  double started = 0;    // seconds since the epoch
  std::string user, home, guest, command, key, shape, rule, reason;
  std::optional<double> predicted;  // seconds of a speed-1.0 processor
};

struct JobEnded {             // what is not known is not there
  std::optional<int> status;  // as a shell shows it: 128 + n when signal n killed it
  std::optional<double> seconds, cpu;
  std::optional<std::uint64_t> memory, bytes_in, bytes_out;
  std::optional<std::uint64_t> round_trips, cache_hits;  // of its file requests
  std::optional<double> file_wait;                       // seconds, all its tasks together
  std::optional<double> work;  // of a run that teaches: PastRun::work
};

// What a command is expected to ask for.
struct KnownProfile {
  std::string key;   // of the command
  std::string text;  // Profile::text()
  double seen = 0;   // seconds since the epoch
};

struct HistoryChange {
  std::uint64_t row = 0;  // the caller's number; rises
  std::optional<JobBegan> began;
  std::optional<JobEnded> ended;
  std::optional<HomeNeed> need{};  // of no row
  std::optional<KnownProfile> profile{};
};

class HistoryDatabase {
 public:
  static constexpr int schema = 2;                                        // PRAGMA user_version
  static constexpr std::uint64_t first_home_id = std::uint64_t{1} << 33;  // the scheduler's lie below 2^32
  static constexpr std::size_t rows_kept = 100'000;

  // Makes what is not there, 0600. Rows below `first_row` that still run belong to a deputy that died: their end is not
  // known.
  static Result<HistoryDatabase> open(const std::string& path, std::uint64_t first_row,
                                      std::size_t keep = rows_kept);

  // All or nothing.
  Status write(const std::vector<HistoryChange>& changes);

  // What teaches, oldest first; of the newest `limit` jobs.
  using Past = std::vector<std::pair<std::string, PastRun>>;  // key, run
  Result<Past> past(std::size_t limit);
  Result<std::vector<KnownProfile>> profiles();  // the one used last comes last
  Result<std::vector<HomeNeed>> needs();

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  HistoryDatabase(std::string path, sqlite3* database, std::size_t keep)
      : path_(std::move(path)), database_(database), keep_(keep) {}
  Status prepare(std::uint64_t first_row);
  Status run(const char* sql);
  Status prune();
  tl::unexpected<Error> error() const;

  std::string path_;
  std::unique_ptr<sqlite3, Close> database_;
  std::size_t keep_, since_pruned_ = 0;
};

}  // namespace ssi
