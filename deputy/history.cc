// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/history.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "common/log.h"

namespace ssi {
namespace {

constexpr std::uint64_t soon_ms = 50;         // a job that ends within it is written once
constexpr std::uint64_t rewrite_ms = 5000;    // after a write that failed
constexpr std::size_t jobs_learned = 20'000;  // read at start
constexpr std::size_t max_pending = 10'000;

// Above all rows of an earlier life: jobs come far slower than one a microsecond.
std::uint64_t first_row() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

Status History::File::open() {
  if (database) return {};
  auto opened = HistoryDatabase::open(path, first_row);
  if (!opened) return tl::make_unexpected(opened.error());
  database = std::move(*opened);
  return {};
}

Status History::File::write(std::vector<HistoryChange> changes) {
  if (left.size() > max_pending) left.clear();  // a disk that stays full must not eat our memory
  std::ranges::move(changes, std::back_inserter(left));
  if (auto opened = open(); !opened) return opened;
  auto written = database->write(left);
  if (written)
    left.clear();
  else
    database.reset();  // a file that was taken away, or mended, is found again
  return written;
}

History::History(Loop& loop, std::string path)
    : loop_(loop),
      next_row_(first_row()),
      file_(std::make_shared<File>(File{std::move(path), next_row_, std::nullopt, {}})),
      soon_(loop) {
  load();
}

History::~History() {
  *alive_ = false;
  if (writing_.valid()) writing_.wait();
  if (!pending_.empty() || !file_->left.empty()) (void)file_->write(std::move(pending_));
}

void History::load() {
  auto read = std::make_shared<std::promise<void>>();
  writing_ = read->get_future();
  auto past = std::make_shared<HistoryDatabase::Past>();
  auto needs = std::make_shared<std::vector<HomeNeed>>();
  auto profiles = std::make_shared<std::vector<KnownProfile>>();
  auto status = std::make_shared<Status>();
  loop_.queue_work(
      [file = file_, past, needs, profiles, status, read] {
        *status = file->open();
        if (*status) {
          if (auto found = file->database->past(jobs_learned)) *past = std::move(*found);
          if (auto found = file->database->needs()) *needs = std::move(*found);
          if (auto found = file->database->profiles()) *profiles = std::move(*found);
        }
        read->set_value();
      },
      [this, past, needs, profiles, status, alive = alive_] {
        if (!*alive) return;
        for (const auto& [key, run] : *past) predictions_.remember(key, run);
        for (auto& need : *needs) needs_.remember(std::move(need));
        for (const auto& known : *profiles) profiles_.add(known.key, Profile::of_text(known.text));
        done(*status);
      });
}

std::uint64_t History::began(JobBegan job) {
  const auto row = next_row_++;
  append({row, std::move(job), std::nullopt, std::nullopt});
  if (pending_.size() == 1) soon_.once(soon_ms, [this] { write(); });
  return row;
}

void History::ended(std::uint64_t row, const std::string& key, bool at_home, JobEnded job) {
  if (job.work) predictions_.remember(key, {at_home, *job.work, job.memory.value_or(0)});
  append({row, std::nullopt, std::move(job), std::nullopt});
  write();
}

void History::needs_home(HomeNeed need) {
  append({0, std::nullopt, std::nullopt, need});
  needs_.remember(std::move(need));
  write();
}

void History::learned(const std::string& key, const Profile& profile) {
  if (!profiles_.add(key, profile)) return;
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  append({0, std::nullopt, std::nullopt, std::nullopt, KnownProfile{key, profiles_.of(key)->text(), now}});
  write();
}

void History::append(HistoryChange change) {
  if (pending_.size() >= max_pending) pending_.clear();  // a file that hangs must not eat our memory
  pending_.push_back(std::move(change));
}

void History::write() {
  soon_.stop();
  if (writing_.valid() || (pending_.empty() && !failed_)) return;  // done() comes back here
  auto written = std::make_shared<std::promise<void>>();
  writing_ = written->get_future();
  auto changes = std::make_shared<std::vector<HistoryChange>>(std::exchange(pending_, {}));
  auto status = std::make_shared<Status>();
  loop_.queue_work(
      [file = file_, changes, status, written] {
        *status = file->write(std::move(*changes));
        written->set_value();
      },
      [this, status, alive = alive_] {
        if (*alive) done(*status);
      });
}

void History::done(const Status& status) {
  writing_ = {};
  failed_ = !status;
  if (status) return write();
  if (complained_.is_due()) log::warning("jobs are not recorded: {}", status.error().text());
  soon_.once(rewrite_ms, [this] { write(); });
}

}  // namespace ssi
