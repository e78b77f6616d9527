// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/past_jobs.h"

#include <sqlite3.h>
#include <unistd.h>

#include <memory>

namespace ssi {
namespace {

constexpr int known_schema = 2, busy_ms = 2000;

// In the order of PastJob's reading below; and what a file of schema 1 lacks.
constexpr const char* columns =
    "SELECT id, started, user, home, guest, command, rule, reason, state, predicted, status, seconds, cpu, "
    "memory, bytes_in, bytes_out, ";
constexpr const char* file_use = "round_trips, cache_hits, file_wait FROM jobs ";
constexpr const char* no_file_use = "NULL, NULL, NULL FROM jobs ";

struct Close {
  void operator()(sqlite3* database) const { ::sqlite3_close(database); }
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

Statement prepare(const Database& database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  ::sqlite3_prepare_v2(database.get(), sql, -1, &statement, nullptr);
  return Statement(statement);
}

tl::unexpected<Error> error_of(const std::string& path, const Database& database) {
  return failure(path + ": " + ::sqlite3_errmsg(database.get()));
}

std::string as_uri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#')
      uri += c == '%' ? "%25" : c == '?' ? "%3f" : "%23";
    else
      uri += c;
  }
  return uri;
}

// Nothing when it has no tables yet.
Result<Database> open(const std::string& path) {
  // A log cannot be read without its index, which a read-only folder has no place for. Nobody writes there either.
  for (const char* mode : {"?mode=ro", "?immutable=1"}) {
    sqlite3* opened = nullptr;
    ::sqlite3_open_v2((as_uri(path) + mode).c_str(), &opened, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                      nullptr);
    Database database(opened);
    ::sqlite3_busy_timeout(opened, busy_ms);
    const auto version = prepare(database, "PRAGMA user_version");
    const int step = version ? ::sqlite3_step(version.get()) : ::sqlite3_errcode(opened);
    if (step == SQLITE_ROW && ::sqlite3_column_int(version.get(), 0) > known_schema)
      return failure(path + " was made by a newer ssi");
    if (step == SQLITE_ROW && ::sqlite3_column_int(version.get(), 0) == 0) return Database();
    if (step == SQLITE_ROW) return database;
    if (step != SQLITE_CANTOPEN && step != SQLITE_READONLY) return error_of(path, database);
  }
  return os_error("open " + path, EACCES);
}

std::string text(sqlite3_stmt* row, int column) {
  const auto* bytes = reinterpret_cast<const char*>(::sqlite3_column_text(row, column));
  return bytes ? std::string(bytes, static_cast<std::size_t>(::sqlite3_column_bytes(row, column))) : "";
}

template <class T>
std::optional<T> number(sqlite3_stmt* row, int column) {
  if (::sqlite3_column_type(row, column) == SQLITE_NULL) return std::nullopt;
  if constexpr (std::is_same_v<T, double>)
    return ::sqlite3_column_double(row, column);
  else
    return static_cast<T>(::sqlite3_column_int64(row, column));
}

PastJob job_of(sqlite3_stmt* row) {
  PastJob job;
  job.id = number<std::uint64_t>(row, 0).value_or(0);
  job.started = number<double>(row, 1).value_or(0);
  std::string* texts[] = {&job.user, &job.home, &job.guest, &job.command, &job.rule, &job.reason, &job.state};
  int column = 2;
  for (auto* into : texts) *into = text(row, column++);
  job.predicted = number<double>(row, 9);
  job.status = number<int>(row, 10);
  job.seconds = number<double>(row, 11);
  job.cpu = number<double>(row, 12);
  job.memory = number<std::uint64_t>(row, 13);
  job.bytes_in = number<std::uint64_t>(row, 14);
  job.bytes_out = number<std::uint64_t>(row, 15);
  job.round_trips = number<std::uint64_t>(row, 16);
  job.cache_hits = number<std::uint64_t>(row, 17);
  job.file_wait = number<double>(row, 18);
  return job;
}

// `parameter` is the only one of `which`.
Result<std::vector<PastJob>> select(const std::string& path, const std::string& which, std::uint64_t parameter) {
  std::vector<PastJob> jobs;
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return jobs;
  const auto database = open(path);
  if (!database) return tl::make_unexpected(database.error());
  if (!*database) return jobs;
  const auto version = prepare(*database, "PRAGMA user_version");
  const bool old = ::sqlite3_step(version.get()) == SQLITE_ROW && ::sqlite3_column_int(version.get(), 0) < known_schema;
  const auto statement = prepare(*database, (std::string(columns) + (old ? no_file_use : file_use) + which).c_str());
  ::sqlite3_bind_int64(statement.get(), 1, static_cast<sqlite3_int64>(parameter));
  int step;
  while ((step = ::sqlite3_step(statement.get())) == SQLITE_ROW) jobs.push_back(job_of(statement.get()));
  if (step != SQLITE_DONE) return error_of(path, *database);
  return jobs;
}

}  // namespace

Result<std::vector<PastJob>> past_jobs(const std::string& path, std::size_t limit) {
  return select(path, "WHERE state = 'ended' ORDER BY seq DESC LIMIT ?1", limit);
}

Result<std::optional<PastJob>> find_past_job(const std::string& path, std::uint64_t id) {
  auto found = select(path, "WHERE id = ?1 ORDER BY seq DESC LIMIT 1", id);
  if (!found) return tl::make_unexpected(found.error());
  if (found->empty()) return std::optional<PastJob>();
  return std::move(found->front());
}

}  // namespace ssi
