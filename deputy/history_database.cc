// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/history_database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include "common/fd.h"

namespace ssi {
namespace {

constexpr int busy_ms = 1000;
constexpr std::size_t prune_each = 256;  // jobs

// `seq` is HistoryChange::row; ids come round again after some days, so they are not unique.
constexpr const char* make_tables = R"(
BEGIN IMMEDIATE;
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY, id INTEGER NOT NULL, started REAL NOT NULL,
  user TEXT NOT NULL, home TEXT NOT NULL, guest TEXT NOT NULL, command TEXT NOT NULL,
  key TEXT NOT NULL, shape TEXT NOT NULL, rule TEXT NOT NULL, predicted REAL, reason TEXT NOT NULL,
  state TEXT NOT NULL, status INTEGER, seconds REAL, cpu REAL, memory INTEGER, bytes_in INTEGER, bytes_out INTEGER,
  work REAL, round_trips INTEGER, cache_hits INTEGER, file_wait REAL);
CREATE INDEX jobs_by_id ON jobs (id);
PRAGMA user_version = 2;
COMMIT;
)";

constexpr const char* insert = R"(
INSERT OR REPLACE INTO jobs (seq, id, started, user, home, guest, command, key, shape, rule, predicted, reason, state)
VALUES (?1, COALESCE(?2, (SELECT MAX(?13, MAX(id)) + 1 FROM jobs WHERE id > ?13), ?13 + 1),
        ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'running'))";

constexpr const char* complete = R"(
UPDATE jobs SET state = 'ended', status = ?2, seconds = ?3, cpu = ?4, memory = ?5, bytes_in = ?6, bytes_out = ?7,
  round_trips = ?8, cache_hits = ?9, file_wait = ?10, work = ?11
WHERE seq = ?1)";

// Of a file of schema 1, which knew nothing of file requests.
constexpr const char* add_file_use = R"(
BEGIN IMMEDIATE;
ALTER TABLE jobs ADD COLUMN round_trips INTEGER;
ALTER TABLE jobs ADD COLUMN cache_hits INTEGER;
ALTER TABLE jobs ADD COLUMN file_wait REAL;
PRAGMA user_version = 2;
COMMIT;
)";

// Beside the schema: an older deputy leaves it alone.
constexpr const char* make_needs = R"(
CREATE TABLE IF NOT EXISTS needs (key TEXT PRIMARY KEY, what TEXT NOT NULL, seen REAL NOT NULL);
DELETE FROM needs WHERE seen < unixepoch('now', '-1 day');
CREATE TABLE IF NOT EXISTS profiles (key TEXT PRIMARY KEY, paths BLOB NOT NULL, seen REAL NOT NULL);
DELETE FROM profiles WHERE seen < unixepoch('now', '-30 days');
DELETE FROM profiles WHERE key NOT IN (SELECT key FROM profiles ORDER BY seen DESC LIMIT 200);
)";

class Statement {
 public:
  Statement(sqlite3* database, const char* sql) {
    ::sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr);
  }
  ~Statement() { ::sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // In the order of the parameters.
  Statement& bind(std::uint64_t value) {
    return bound(::sqlite3_bind_int64(statement_, ++at_, static_cast<sqlite3_int64>(value)));
  }
  Statement& bind(int value) { return bound(::sqlite3_bind_int(statement_, ++at_, value)); }
  Statement& bind(double value) { return bound(::sqlite3_bind_double(statement_, ++at_, value)); }
  Statement& bind(const std::string& value) {
    return bound(::sqlite3_bind_text(statement_, ++at_, value.data(), static_cast<int>(value.size()),
                                     SQLITE_TRANSIENT));
  }
  template <class T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bound(::sqlite3_bind_null(statement_, ++at_));
  }

  bool row() { return ::sqlite3_step(statement_) == SQLITE_ROW; }
  bool done() { return ::sqlite3_step(statement_) == SQLITE_DONE; }
  std::int64_t integer(int column) const { return ::sqlite3_column_int64(statement_, column); }
  double real(int column) const { return ::sqlite3_column_double(statement_, column); }
  std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(::sqlite3_column_text(statement_, column));
    return bytes ? std::string(bytes, static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column)))
                 : "";
  }

 private:
  Statement& bound(int) { return *this; }  // what goes wrong here shows when it is stepped
  sqlite3_stmt* statement_ = nullptr;
  int at_ = 0;
};

bool insert_row(sqlite3* database, std::uint64_t row, const JobBegan& job) {
  Statement statement(database, insert);
  statement.bind(row)
      .bind(job.id ? std::optional(job.id) : std::nullopt)
      .bind(job.started)
      .bind(job.user)
      .bind(job.home)
      .bind(job.guest)
      .bind(job.command)
      .bind(job.key)
      .bind(job.shape)
      .bind(job.rule)
      .bind(job.predicted)
      .bind(job.reason)
      .bind(HistoryDatabase::first_home_id);
  return statement.done();
}

bool complete_row(sqlite3* database, std::uint64_t row, const JobEnded& job) {
  Statement statement(database, complete);
  statement.bind(row)
      .bind(job.status)
      .bind(job.seconds)
      .bind(job.cpu)
      .bind(job.memory)
      .bind(job.bytes_in)
      .bind(job.bytes_out)
      .bind(job.round_trips)
      .bind(job.cache_hits)
      .bind(job.file_wait)
      .bind(job.work);
  return statement.done();
}

bool write_need(sqlite3* database, const HomeNeed& need) {
  Statement statement(database, "INSERT OR REPLACE INTO needs (key, what, seen) VALUES (?1, ?2, ?3)");
  return statement.bind(need.key).bind(need.what).bind(need.seen).done();
}

bool write_profile(sqlite3* database, const KnownProfile& profile) {
  Statement statement(database, "INSERT OR REPLACE INTO profiles (key, paths, seen) VALUES (?1, ?2, ?3)");
  return statement.bind(profile.key).bind(profile.text).bind(profile.seen).done();
}

}  // namespace

void HistoryDatabase::Close::operator()(sqlite3* database) const {
  ::sqlite3_close(database);
}

tl::unexpected<Error> HistoryDatabase::error() const {
  return failure(path_ + ": " + ::sqlite3_errmsg(database_.get()));
}

Status HistoryDatabase::run(const char* sql) {
  if (::sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error();
  return {};
}

Result<HistoryDatabase> HistoryDatabase::open(const std::string& path, std::uint64_t first_row,
                                              std::size_t keep) {
  {  // sqlite would make it readable for all; its side files get the mode of this one
    const Fd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!made) return os_error("open " + path);
  }
  sqlite3* database = nullptr;
  const int opened = ::sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr);
  HistoryDatabase history(path, database, keep);
  if (opened != SQLITE_OK) return history.error();
  ::sqlite3_busy_timeout(database, busy_ms);
  if (auto prepared = history.prepare(first_row); !prepared) return tl::make_unexpected(prepared.error());
  return history;
}

Status HistoryDatabase::prepare(std::uint64_t first_row) {
  // With a write-ahead log readers never wait; "normal" costs no fsync but at its checkpoints, and a crash loses no more
  // than the last jobs.
  if (auto set = run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"); !set) return set;
  std::int64_t version = -1;
  if (Statement asked(database_.get(), "PRAGMA user_version"); asked.row()) version = asked.integer(0);
  if (version < 0) return error();
  if (version > schema)
    return failure(
        fmt::format("{} was made by a newer ssi (schema {}); jobs are not recorded", path_, version));
  if (version == 0)
    if (auto made = run(make_tables); !made) return made;
  if (version == 1)
    if (auto made = run(add_file_use); !made) return made;
  if (auto made = run(make_needs); !made) return made;
  Statement died(database_.get(), "UPDATE jobs SET state = 'ended' WHERE state = 'running' AND seq < ?1");
  if (!died.bind(first_row).done()) return error();
  return prune();
}

Status HistoryDatabase::prune() {
  Statement statement(
      database_.get(),
      "DELETE FROM jobs WHERE seq <= (SELECT seq FROM jobs ORDER BY seq DESC LIMIT 1 OFFSET ?1)");
  if (!statement.bind(std::uint64_t{keep_}).done()) return error();
  return {};
}

Status HistoryDatabase::write(const std::vector<HistoryChange>& changes) {
  if (auto begun = run("BEGIN IMMEDIATE"); !begun) return begun;
  for (const auto& change : changes) {
    const bool written = (!change.began || insert_row(database_.get(), change.row, *change.began)) &&
                         (!change.ended || complete_row(database_.get(), change.row, *change.ended)) &&
                         (!change.need || write_need(database_.get(), *change.need)) &&
                         (!change.profile || write_profile(database_.get(), *change.profile));
    if (!written) {
      const auto why = error();
      (void)run("ROLLBACK");
      return why;
    }
    since_pruned_ += change.began ? 1 : 0;
  }
  if (auto committed = run("COMMIT"); !committed) {
    (void)run("ROLLBACK");
    return committed;
  }
  if (since_pruned_ >= prune_each && prune()) since_pruned_ = 0;  // else with the next
  return {};
}

Result<HistoryDatabase::Past> HistoryDatabase::past(std::size_t limit) {
  Statement statement(
      database_.get(),
      "SELECT key, guest = 'home', work, memory FROM (SELECT * FROM jobs ORDER BY seq DESC LIMIT ?1) "
      "WHERE work IS NOT NULL ORDER BY seq");
  statement.bind(std::uint64_t{limit});
  Past past;
  while (statement.row())
    past.emplace_back(statement.text(0), PastRun{statement.integer(1) != 0, statement.real(2),
                                                 static_cast<std::uint64_t>(statement.integer(3))});
  return past;
}

Result<std::vector<KnownProfile>> HistoryDatabase::profiles() {
  Statement statement(database_.get(), "SELECT key, paths, seen FROM profiles ORDER BY seen");
  std::vector<KnownProfile> profiles;
  while (statement.row()) profiles.push_back({statement.text(0), statement.text(1), statement.real(2)});
  return profiles;
}

Result<std::vector<HomeNeed>> HistoryDatabase::needs() {
  Statement statement(database_.get(), "SELECT key, what, seen FROM needs ORDER BY seen");
  std::vector<HomeNeed> needs;
  while (statement.row()) needs.push_back({statement.text(0), statement.text(1), statement.real(2)});
  return needs;
}

}  // namespace ssi
