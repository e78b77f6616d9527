// SPDX-License-Identifier: LGPL-2.1-or-later
// The history on real files.
#include "deputy/history.h"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "common/test_folder.h"

using namespace ssi;

namespace {

struct Folder {
  // The first column of all rows, joined by spaces, as another process reads it.
  std::string read(const std::string& sql) const {
    sqlite3* database = nullptr;
    REQUIRE(::sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
    ::sqlite3_busy_timeout(database, 5'000);
    std::string text;
    const auto take = [](void* into, int, char** values, char**) {
      auto& joined = *static_cast<std::string*>(into);
      joined += (joined.empty() ? "" : " ") + std::string(values[0] ? values[0] : "null");
      return 0;
    };
    CHECK(::sqlite3_exec(database, sql.c_str(), take, &text, nullptr) == SQLITE_OK);
    ::sqlite3_close(database);
    return text;
  }
  TestFolder folder;
  const std::string &path = folder.path(), file = path + "/history.sqlite";
};

JobBegan job(std::uint64_t id, const std::string& guest = "guest1") {
  JobBegan began;
  began.id = id;
  began.started = 1;
  began.guest = guest;
  began.command = "ffmpeg";
  began.key = "k";
  return began;
}

JobEnded end(double work) {
  JobEnded ended;
  ended.status = 0;
  ended.cpu = ended.seconds = ended.work = work;
  ended.memory = 1 << 20;
  return ended;
}

void run_for(Loop& loop, std::uint64_t ms) {
  ::uv_update_time(loop.uv());  // or the time counts that the test took until here
  Timer timer(loop);
  timer.once(ms, [&] { loop.stop(); });
  loop.run();
}

}  // namespace

TEST_CASE("a job is a row, running then ended; nobody else may read it") {
  const Folder folder;
  auto database = HistoryDatabase::open(folder.file, 100);
  REQUIRE_MESSAGE(database, database.error().text());
  REQUIRE(database->write({{100, job(7), {}}}));
  CHECK(folder.read("SELECT state FROM jobs WHERE id = 7") == "running");
  CHECK(folder.read("SELECT status FROM jobs WHERE id = 7") == "null");
  REQUIRE(database->write({{100, {}, end(2.5)}}));
  CHECK(folder.read("SELECT state FROM jobs") == "ended");
  CHECK(folder.read("SELECT cpu FROM jobs") == "2.5");
  CHECK(folder.read("PRAGMA journal_mode") == "wal");
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status;
    REQUIRE(::stat((folder.file + suffix).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

TEST_CASE("jobs at home get numbers of their own, in every life of the deputy") {
  const Folder folder;
  {
    auto database = HistoryDatabase::open(folder.file, 100);
    REQUIRE(database->write({{100, job(0, "home"), {}}, {101, job(7), {}}, {102, job(0, "home"), {}}}));
  }
  auto database = HistoryDatabase::open(folder.file, 200);
  REQUIRE(database->write({{200, job(0, "home"), {}}}));
  CHECK(folder.read("SELECT id FROM jobs ORDER BY seq") == "8589934593 7 8589934594 8589934595");
}

TEST_CASE("what only home had for a command is known to the next deputy, for a day") {
  const Folder folder;
  const auto now = static_cast<double>(::time(nullptr));
  const std::string what = "needs /h/.ssh, which is hidden from guests";
  {
    auto database = HistoryDatabase::open(folder.file, 100);
    REQUIRE(database->write({{0, {}, {}, HomeNeed{"a", "needs x", now - 60}},
                             {0, {}, {}, HomeNeed{"a", what, now}},
                             {0, {}, {}, HomeNeed{"old", what, now - 2 * HomeNeeds::seconds_kept}}}));
  }
  const auto needs = HistoryDatabase::open(folder.file, 200)->needs();
  REQUIRE(needs);
  REQUIRE(needs->size() == 1);
  CHECK(needs->front().key == "a");
  CHECK(needs->front().what == what);
}

TEST_CASE("what ran when the deputy died has ended somehow") {
  const Folder folder;
  (void)HistoryDatabase::open(folder.file, 100)->write({{100, job(7), {}}});
  auto database = HistoryDatabase::open(folder.file, 200);
  CHECK(folder.read("SELECT state FROM jobs") == "ended");
  CHECK(folder.read("SELECT seconds FROM jobs") == "null");
}

TEST_CASE("only the newest are kept") {
  const Folder folder;
  auto database = HistoryDatabase::open(folder.file, 1, 100);
  std::vector<HistoryChange> changes;
  for (std::uint64_t row = 1; row <= 1000; ++row) changes.push_back({row, job(row), end(1)});
  REQUIRE(database->write(changes));
  CHECK(folder.read("SELECT COUNT(*) FROM jobs") == "100");
  CHECK(folder.read("SELECT MIN(id) FROM jobs") == "901");
}

TEST_CASE("a file that is none, or a newer one, is refused with its name and left as it is") {
  const Folder folder;
  std::ofstream(folder.file) << std::string(5000, 'x');
  const auto broken = HistoryDatabase::open(folder.file, 1);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().text() == folder.file + ": file is not a database");
  CHECK(std::filesystem::file_size(folder.file) == 5000);

  const Folder other;
  REQUIRE(HistoryDatabase::open(other.file, 1));
  sqlite3* database = nullptr;
  ::sqlite3_open(other.file.c_str(), &database);
  ::sqlite3_exec(database, "PRAGMA user_version = 99", nullptr, nullptr, nullptr);
  ::sqlite3_close(database);
  const auto newer = HistoryDatabase::open(other.file, 1);
  REQUIRE_FALSE(newer);
  CHECK(newer.error().text().find("newer ssi (schema 99)") != std::string::npos);
}

TEST_CASE("a file of the version before gets the columns that it lacks, and keeps its jobs") {
  const Folder folder;
  sqlite3* old = nullptr;
  ::sqlite3_open(folder.file.c_str(), &old);
  const auto made = ::sqlite3_exec(old, R"(
    CREATE TABLE jobs (seq INTEGER PRIMARY KEY, id INTEGER NOT NULL, started REAL NOT NULL, user TEXT NOT NULL, home TEXT NOT NULL,
      guest TEXT NOT NULL, command TEXT NOT NULL, key TEXT NOT NULL, shape TEXT NOT NULL, rule TEXT NOT NULL, predicted REAL,
      reason TEXT NOT NULL, state TEXT NOT NULL, status INTEGER, seconds REAL, cpu REAL, memory INTEGER, bytes_in INTEGER,
      bytes_out INTEGER, work REAL);
    INSERT INTO jobs VALUES (1, 77, 0, 'u', 'h', 'g', 'c', 'k', 's', '', NULL, 'r', 'ended', 0, 1, 1, 1, 1, 1, 1);
    PRAGMA user_version = 1;)", nullptr, nullptr, nullptr);
  ::sqlite3_close(old);
  REQUIRE(made == SQLITE_OK);
  auto database = HistoryDatabase::open(folder.file, 2, 100);
  REQUIRE(database);
  auto ended = end(1);
  ended.round_trips = 5;
  REQUIRE(database->write({{2, job(2), ended}}));
  CHECK(folder.read("SELECT COUNT(*) FROM jobs") == "2");
  CHECK(folder.read("SELECT round_trips FROM jobs WHERE seq = 2") == "5");
  CHECK(folder.read("SELECT round_trips IS NULL FROM jobs WHERE id = 77") == "1");
}

TEST_CASE("what was learned outlives the deputy") {
  const Folder folder;
  {
    Loop loop;
    History history(loop, folder.file);
    run_for(loop, 100);
    CHECK_FALSE(history.prediction("k"));
    history.ended(history.began(job(7)), "k", false, end(3));
    REQUIRE(history.prediction("k"));  // at once
    const auto unfinished = history.began(job(8));
    run_for(loop, 200);
    CHECK(folder.read("SELECT state FROM jobs ORDER BY seq") == "ended running");
    auto failed = end(0.1);
    failed.work.reset();
    history.ended(unfinished, "k", false, failed);
  }  // what was still to be written is
  CHECK(folder.read("SELECT state FROM jobs ORDER BY seq") == "ended ended");
  Loop loop;
  History history(loop, folder.file);
  run_for(loop, 100);
  REQUIRE(history.prediction("k"));
  CHECK(history.prediction("k")->work == 3);
}

TEST_CASE("while the file hangs, no more than the newest changes are kept") {
  const Folder folder;
  std::promise<void> answers;
  const std::shared_future<void> answered(answers.get_future());
  Loop loop;
  for (int thread = 0; thread < 16;
       ++thread)  // more than libuv has: all wait, as for a disk that does not answer
    loop.queue_work([answered] { answered.wait(); }, [] {});
  History history(loop, folder.file);
  for (std::uint64_t id = 1; id <= 12'500; ++id) history.ended(history.began(job(id)), "k", false, end(3));
  answers.set_value();
  run_for(loop, 1000);
  for (int tries = 0; tries < 20 && folder.read("SELECT MAX(id) FROM jobs") != "12500"; ++tries)
    run_for(loop, 500);
  CHECK(folder.read("SELECT COUNT(*) FROM jobs") == "2500");
  CHECK(folder.read("SELECT MAX(id) FROM jobs") == "12500");
}

TEST_CASE("a history that cannot be written still predicts, and stops nobody") {
  const Folder folder;
  std::filesystem::create_directory(folder.file);
  Loop loop;
  History history(loop, folder.file);
  for (int i = 0; i < 10; ++i) history.ended(history.began(job(7)), "k", false, end(3));
  run_for(loop, 100);
  CHECK(history.prediction("k"));
}
