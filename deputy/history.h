// SPDX-License-Identifier: LGPL-2.1-or-later
// What the deputy writes down of its jobs, and what it learned from them. No job waits for it: rows are written on
// libuv's threads, in the order in which they were told; a file that is broken, read-only or full costs one line in the
// log, and is tried again.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/loop.h"
#include "common/seldom.h"
#include "deputy/history_database.h"
#include "deputy/home_needs.h"
#include "deputy/predictions.h"
#include "deputy/profile.h"

namespace ssi {

class History {
 public:
  History(Loop& loop, std::string path);  // begins to read what is known
  ~History();                             // writes what is left
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  std::uint64_t began(JobBegan job);  // its row, for ended()
  void ended(std::uint64_t row, const std::string& key, bool at_home, JobEnded job);

  void needs_home(HomeNeed need);
  std::optional<std::string> home_need(const std::string& key, double now) const {
    return needs_.of(key, now);
  }

  // What a command is expected to ask for; null: nothing is known.
  std::shared_ptr<const Profile> profile(const std::string& key) const { return profiles_.of(key); }
  void learned(const std::string& key, const Profile& profile);

  std::optional<Prediction> prediction(const std::string& key) const { return predictions_.of(key); }

 private:
  // On the threads, by one at a time.
  struct File {
    std::string path;
    std::uint64_t first_row;
    std::optional<HistoryDatabase> database;
    std::vector<HistoryChange> left;  // what could not be written
    Status open();
    Status write(std::vector<HistoryChange> changes);
  };
  void load();
  void append(HistoryChange change);
  void write();
  void done(const Status& status);

  Loop& loop_;
  std::uint64_t next_row_;
  std::shared_ptr<File> file_;
  Predictions predictions_;
  HomeNeeds needs_;
  Profiles profiles_;
  std::vector<HistoryChange> pending_;
  std::shared_future<void> writing_;  // valid: a thread has the file
  bool failed_ = false;  // the last write
  Timer soon_;
  Seldom complained_;  // on a disk that is nearly full each other write succeeds
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace ssi
